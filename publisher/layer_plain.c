/* SPDX-License-Identifier: Apache-2.0
 * Chunks are opened one at a time, as a guest opens them; the last one is kept, for blocks are asked for in
 * order. */
#include "publisher/layer_plain.h"
#include "guestfs/chunk_open.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct layer_plain {
	const struct sealed_layer *layer;
	int fd;
	struct opener *opener;
	uint64_t *starts; /* owned; the first block of each extent, and the end of the last */
	size_t extent;	  /* the one in `plain`; layer->n_extents: none */
	uint8_t *plain;	  /* owned, SEAL_POOL_CHUNK bytes */
};

static const struct sealed_chunk *chunk_of(const struct layer_plain *p, size_t extent)
{
	return &p->layer->chunks.records[p->layer->extents[extent]].chunk;
}

int layer_plain_open(struct layer_plain **out, const struct sealed_layer *layer, int fd, struct err *e)
{
	struct layer_plain *p = calloc(1, sizeof(*p));

	if (p) {
		p->layer = layer;
		p->fd = fd;
		p->extent = layer->n_extents;
		p->starts = calloc(layer->n_extents + 1, sizeof(*p->starts));
		p->plain = malloc(SEAL_POOL_CHUNK);
	}
	if (!p || !p->starts || !p->plain || opener_new(&p->opener) < 0) {
		layer_plain_close(p);
		return err_set(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < layer->n_extents; i++)
		p->starts[i + 1] = p->starts[i] + chunk_of(p, i)->plain_size / BLOCK_SIZE;
	*out = p;
	return 0;
}

void layer_plain_close(struct layer_plain *p)
{
	if (!p)
		return;
	if (p->plain)
		explicit_bzero(p->plain, SEAL_POOL_CHUNK);
	free(p->plain);
	free(p->starts);
	opener_free(p->opener);
	free(p);
}

/* The extent of `block`, which is one of the layer's. */
static size_t find(const struct layer_plain *p, uint64_t block)
{
	size_t low = 0, high = p->layer->n_extents;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (p->starts[middle] <= block)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int load(struct layer_plain *p, size_t extent, struct err *e)
{
	const struct chunk_record *record = &p->layer->chunks.records[p->layer->extents[extent]];
	const struct sealed_chunk *c = &record->chunk;
	struct chunk_entry entry = {.id = c->id, .offset = record->offset, .stored_size = c->stored_size};
	struct chunk_expect expect = {&entry, &c->key, c->plain_size, SEAL_POOL_CHUNK};
	cleanup_free uint8_t *stored = malloc(c->stored_size);
	uint32_t size;
	int r = stored ? pread_full(p->fd, stored, c->stored_size, record->offset) : -ENOMEM;

	p->extent = p->layer->n_extents;
	if (r < 0)
		return err_errno(e, r, "cannot read a chunk back");
	r = chunk_open(p->opener, p->plain, &size, &expect, stored, c->stored_size, e);
	if (r == 0)
		p->extent = extent;
	return r;
}

const uint8_t *layer_plain_block(struct layer_plain *p, uint64_t block, int *error, struct err *e)
{
	size_t extent;

	*error = 0;
	if (p->layer->n_extents == 0 || block >= p->starts[p->layer->n_extents]) {
		*error = err_set(e, -EUCLEAN, "the layer has no block %llu", (unsigned long long)block);
		return NULL;
	}
	extent = find(p, block);
	if (extent != p->extent)
		*error = load(p, extent, e);
	return *error < 0 ? NULL : p->plain + (block - p->starts[extent]) * BLOCK_SIZE;
}
