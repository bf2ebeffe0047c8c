/* SPDX-License-Identifier: Apache-2.0
 * From blocks that a workload reads at its start to what a guest has to fetch for them: map pages, pieces of
 * EROFS metadata, data chunks. */
#ifndef COCOON_PUBLISHER_STARTUP_CHUNKS_H
#define COCOON_PUBLISHER_STARTUP_CHUNKS_H

#include "publisher/image_map.h"

#include <stddef.h>
#include <stdint.h>

/* How the image's addresses are divided: metadata first, in pieces of piece_blocks (the last may be shorter);
 * then the map's extents. A map page has page_extents of both. */
struct startup_division {
	const struct image_map *map;
	uint64_t meta_blocks;
	uint32_t piece_blocks;
	size_t n_pieces, page_extents;
};

struct startup_chunks {
	uint8_t *pages, *pieces; /* owned; is map page i, is piece i of the metadata wanted? */
	uint32_t *data;		 /* owned; numbers into map->data, in the order of first need */
	size_t n_data, n;	 /* n: all together */
};

/* Addresses outside of the image are left out. 0 or -ENOMEM. */
int startup_chunks_find(struct startup_chunks *out, const struct startup_division *division,
			const uint32_t *blocks, size_t n_blocks);
void startup_chunks_deinit(struct startup_chunks *s);

#endif
