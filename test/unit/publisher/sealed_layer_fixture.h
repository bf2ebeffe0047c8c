/* SPDX-License-Identifier: Apache-2.0
 * A sealed layer, chunk by chunk. */
#ifndef COCOON_TEST_SEALED_LAYER_FIXTURE_H
#define COCOON_TEST_SEALED_LAYER_FIXTURE_H

#include "publisher/image_map.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A chunk of so many blocks behind what the layer has; the same id again is the same chunk. */
static inline void add_chunk(struct sealed_layer *l, uint8_t id, uint32_t blocks)
{
	struct sealed_chunk c = {.id = {{id}}, .stored_size = 100, .plain_size = blocks * 4096};
	uint32_t number;

	cr_assert(chunk_list_add(&l->chunks, &c, l->size, 0, &number) >= 0);
	l->extents = reallocarray(l->extents, l->n_extents + 1, sizeof(*l->extents));
	l->extents[l->n_extents++] = number;
	l->n_blocks += blocks;
	l->size += 100;
}

#endif
