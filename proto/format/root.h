/* SPDX-License-Identifier: Apache-2.0
 * The plaintext of the root chunk, and extents, of which map pages are made (FORMAT.md §6). Decoded structs
 * hold keys: whoever owns them wipes them (root_deinit(); extents by explicit_bzero). */
#ifndef COCOON_FORMAT_ROOT_H
#define COCOON_FORMAT_ROOT_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/format/descriptor.h"

#include <stddef.h>
#include <stdint.h>

#define EXTENT_SIZE 48u
#define MAX_MAP_PAGE_EXTENTS (MAX_CHUNK_SIZE / EXTENT_SIZE)

struct extent {
	uint32_t first_block; /* address in the image, in blocks */
	uint32_t chunk;	      /* number in the chunk table */
	uint32_t plain_size;  /* bytes */
	uint8_t key[CHUNK_KEY_SIZE];
};

struct root {
	uint32_t n_map_pages, n_config_chunks, n_startup_chunks;
	uint64_t config_size, startup_size;
	struct extent *extents; /* owned, one array: map pages, then config chunks, then start-up chunks */
};

/* Decode the root chunk's plaintext. 0, -ENOMEM or -EUCLEAN ([R1]…[R5], [E1]…[E3], order of map pages).
 * On success root_deinit() it. */
int root_decode(struct root *out, const uint8_t *plain, size_t size, const struct descriptor *d,
		struct err *e);
void root_deinit(struct root *r); /* wipes and frees */

/* Append the encoded root; the caller owns and wipes `to`. */
void root_encode(const struct root *r, struct buf *to);

static inline const struct extent *root_config(const struct root *r)
{
	return r->extents + r->n_map_pages;
}

static inline const struct extent *root_startup(const struct root *r)
{
	return r->extents + r->n_map_pages + r->n_config_chunks;
}

/* Decode a map page's plaintext: the page that starts at block `first` and ends before block `end` (the next
 * page's start, or the image's end). On success *out is a malloc'ed array of *n extents that fill that range
 * exactly ([A1]); wipe and free it. 0, -ENOMEM or -EUCLEAN. */
int map_page_decode(struct extent **out, size_t *n, const uint8_t *plain, size_t size, uint32_t first,
		    uint32_t end, const struct descriptor *d, struct err *e);

void extent_encode(const struct extent *x, struct buf *to);

#endif
