/* SPDX-License-Identifier: Apache-2.0
 * From an address in the image to the chunk that holds it: the root's list of map pages, and those pages that
 * are in memory. Pages hold chunk keys and are wiped when they go. The map does no I/O: it says which page it
 * lacks. Any thread. */
#ifndef COCOON_GUESTFS_MAP_H
#define COCOON_GUESTFS_MAP_H

#include "proto/base/err.h"
#include "proto/format/descriptor.h"
#include "proto/format/root.h"

#include <stddef.h>
#include <stdint.h>

struct map;

enum { MAP_PAGE_MISSING = 1 };

/* Takes `root` over (it is empty afterwards) when 0 is returned; `d` is borrowed. -ENOMEM. */
int map_new(struct map **out, struct root *root, const struct descriptor *d);
void map_free(struct map *m); /* wipes; NULL is fine */

const struct root *map_root(const struct map *m);

/* The extent that covers `block` (inside the image). 0 with a copy in *out, which the caller wipes;
 * MAP_PAGE_MISSING with the number of the page that map_page_put() should be given. */
int map_find(struct map *m, uint32_t block, struct extent *out, uint32_t *page);

/* Decode and keep page `page`, and give the extent in it that covers `block`: the page may be gone again when
 * this returns. 0, -EUCLEAN, -ENOMEM. */
int map_page_put(struct map *m, uint32_t page, const uint8_t *plain, size_t size, uint32_t block,
		 struct extent *out, struct err *e);

#endif
