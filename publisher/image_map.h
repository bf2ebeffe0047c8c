/* SPDX-License-Identifier: Apache-2.0
 * The data chunks of all layers together: each id once, and the layers' address spaces one behind the other.
 * Holds keys. */
#ifndef COCOON_PUBLISHER_IMAGE_MAP_H
#define COCOON_PUBLISHER_IMAGE_MAP_H

#include "publisher/chunk_list.h"
#include "publisher/sealed_layer.h"

#include <stddef.h>
#include <stdint.h>

struct image_map {
	struct chunk_list data; /* `blob` is the first layer that has the chunk */
	uint32_t *extents;	/* owned; in the order of addresses, numbers into `data` */
	size_t n_extents;
	uint64_t n_blocks;
};

/* 0, -ENOMEM or -E2BIG. */
int image_map_init(struct image_map *out, const struct sealed_layer *layers, size_t n_layers);
void image_map_deinit(struct image_map *m); /* wipes */

static inline const struct chunk_record *image_map_extent(const struct image_map *m, size_t i)
{
	return &m->data.records[m->extents[i]];
}

/* The chunks in which `blocks` (addresses counted from the first data block) lie, each once, in the order of
 * first need: *numbers is a malloc'ed array of *n numbers into `data`; touched[i] becomes 1 for every extent
 * that they lie in. Addresses outside are left out. 0 or -ENOMEM. */
int image_map_find(const struct image_map *m, const uint32_t *blocks, size_t n_blocks, uint32_t **numbers,
		   size_t *n, uint8_t *touched);

#endif
