/* SPDX-License-Identifier: Apache-2.0
 * Where the stored bytes of a sparse file belong, in the four ways that GNU tar has written it (GNU tar
 * manual, "Storing Sparse Files"). For tar_reader.c alone. All -EUCLEAN for maps that contradict themselves,
 * -E2BIG beyond TAR_MAX_EXTENTS. */
#ifndef COCOON_PUBLISHER_TAR_SPARSE_H
#define COCOON_PUBLISHER_TAR_SPARSE_H

#include "proto/base/err.h"
#include "publisher/tar_reader.h"

#include <stddef.h>
#include <stdint.h>

struct tar_map {
	struct tar_extent *extents; /* owned */
	size_t n, room;
};

void tar_map_deinit(struct tar_map *m); /* from zeroed memory; `n` may be set to 0 for the next file */

/* Extents come in order; empty ones say nothing and are left out. */
int tar_map_add(struct tar_map *m, uint64_t offset, uint64_t size, struct err *e);

/* Do the extents lie in a file of `size` bytes and take `stored` bytes together? */
int tar_map_check(const struct tar_map *m, uint64_t stored, uint64_t size, struct err *e);

/* The oldest form: in the header and in blocks behind it, which are pulled. */
int tar_map_gnu(struct tar_map *m, const uint8_t *header, tar_pull_fn *pull, void *arg, uint64_t *size,
		struct err *e);

/* PAX 0.0 and 0.1: "offset,size,offset,size…". */
int tar_map_text(struct tar_map *m, const uint8_t *text, size_t n, struct err *e);

/* PAX 1.0: lines in front of the data, *used bytes of the `stored` ones. */
int tar_map_1_0(struct tar_map *m, tar_pull_fn *pull, void *arg, uint64_t stored, uint64_t *used,
		struct err *e);

#endif
