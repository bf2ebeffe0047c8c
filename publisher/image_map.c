/* SPDX-License-Identifier: Apache-2.0
 * Merging the layers' chunk lists, and finding the chunk of an address. */
#include "publisher/image_map.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_layer(struct image_map *m, const struct sealed_layer *l, uint32_t blob)
{
	cleanup_free uint32_t *number = calloc(l->chunks.n + 1, sizeof(*number));

	if (!number)
		return -ENOMEM;
	for (size_t i = 0; i < l->chunks.n; i++) {
		const struct chunk_record *r = &l->chunks.records[i];
		int x = chunk_list_add(&m->data, &r->chunk, r->offset, blob, &number[i]);

		if (x < 0)
			return x;
	}
	for (size_t i = 0; i < l->n_extents; i++)
		m->extents[m->n_extents++] = number[l->extents[i]];
	m->n_blocks += l->n_blocks;
	return 0;
}

int image_map_init(struct image_map *out, const struct sealed_layer *layers, size_t n_layers)
{
	struct image_map m = {0};
	size_t total = 0;
	int r = 0;

	for (size_t i = 0; i < n_layers; i++)
		total += layers[i].n_extents;
	m.extents = calloc(total + 1, sizeof(*m.extents));
	if (!m.extents)
		return -ENOMEM;
	for (size_t i = 0; i < n_layers && r == 0; i++)
		r = add_layer(&m, &layers[i], (uint32_t)i);
	if (r < 0) {
		image_map_deinit(&m);
		return r;
	}
	*out = m;
	return 0;
}

void image_map_deinit(struct image_map *m)
{
	chunk_list_deinit(&m->data);
	free(m->extents);
	*m = (struct image_map){0};
}

/* Where each extent starts, and at [n_extents] where the last one ends. */
static uint64_t *extent_starts(const struct image_map *m)
{
	uint64_t *starts = calloc(m->n_extents + 1, sizeof(*starts));

	if (!starts)
		return NULL;
	for (size_t i = 0; i < m->n_extents; i++)
		starts[i + 1] = starts[i] + image_map_extent(m, i)->chunk.plain_size / BLOCK_SIZE;
	return starts;
}

/* The extent of `block`, which lies inside. */
static size_t extent_at(const uint64_t *starts, size_t n, uint64_t block)
{
	size_t low = 0;

	while (n > 1) {
		size_t half = n / 2;

		if (starts[low + half] <= block) {
			low += half;
			n -= half;
		} else {
			n = half;
		}
	}
	return low;
}

int image_map_find(const struct image_map *m, const uint32_t *blocks, size_t n_blocks, uint32_t **numbers,
		   size_t *n, uint8_t *touched)
{
	cleanup_free uint64_t *starts = extent_starts(m);
	cleanup_free uint8_t *seen = calloc(m->data.n + 1, 1);
	cleanup_free uint32_t *found = calloc(m->data.n + 1, sizeof(*found));
	size_t count = 0;

	if (!starts || !seen || !found)
		return -ENOMEM;
	for (size_t i = 0; i < n_blocks; i++) {
		uint32_t number;
		size_t extent;

		if (blocks[i] >= starts[m->n_extents])
			continue;
		extent = extent_at(starts, m->n_extents, blocks[i]);
		touched[extent] = 1;
		number = m->extents[extent];
		if (!seen[number])
			found[count++] = number;
		seen[number] = 1;
	}
	*numbers = take_ptr(found);
	*n = count;
	return 0;
}
