/* SPDX-License-Identifier: Apache-2.0
 * Small files are hashed and written once in a layer. A sparse file becomes runs of blocks; runs begin and
 * end at chunks of the largest size that leaves every hole a hole, as EROFS keeps one address for each chunk.
 * Only when that would be more addresses than MAX_CHUNKS, chunks grow, and the holes in them are stored as
 * zeroes. */
#include "publisher/layer_data.h"

#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_CHUNKS (1u << 22)
#define MAX_CHUNK_LOG2 31u

static const uint8_t zeroes[64 << 10];

/* The first block fits into an inode: the writer holds the sum of all layers against the limit. */
static int begin(struct layer_data *d, uint64_t size, uint32_t *start, struct err *e)
{
	uint64_t first;
	int r = layer_sink_begin(d->sink, size, &first, e);

	if (r < 0)
		return r;
	if (first > UINT32_MAX)
		return err_set(e, -E2BIG, "the layer's files are more than an image can address");
	*start = (uint32_t)first;
	return 0;
}

static int cut_off(struct err *e)
{
	return err_set(e, -EUCLEAN, "the tar ends in the middle of a file");
}

/* Copy n bytes of the entry to the sink. */
static int copy(struct layer_data *d, uint64_t n, struct err *e)
{
	while (n) {
		size_t want = n < LAYER_WHOLE_FILE ? (size_t)n : LAYER_WHOLE_FILE, got;
		int r = tar_read(d->tar, d->buffer, want, &got, e);

		if (r == 0)
			r = got == want ? layer_sink_write(d->sink, d->buffer, got, e) : cut_off(e);
		if (r < 0)
			return r;
		n -= got;
	}
	return 0;
}

static int fill(struct layer_data *d, uint64_t n, struct err *e)
{
	while (n) {
		size_t piece = n < sizeof(zeroes) ? (size_t)n : sizeof(zeroes);
		int r = layer_sink_write(d->sink, zeroes, piece, e);

		if (r < 0)
			return r;
		n -= piece;
	}
	return 0;
}

/* A file in the buffer: its bytes may be there already. */
static int store_content(struct layer_data *d, size_t size, struct node *node, struct err *e)
{
	struct content *known;
	struct digest digest;
	uint32_t start = 0;
	int r = sha256(&digest, d->buffer, size);

	if (r < 0)
		return r;
	known = content_find(&d->tree->contents, &digest);
	if (known) {
		node->layer = known->layer;
		node->start = known->start;
		d->stats->shared_files++;
		if (known->written == d->layer)
			return 0;
	}
	r = begin(d, size, &start, e);
	if (r == 0)
		r = layer_sink_write(d->sink, d->buffer, size, e);
	if (r == 0)
		r = layer_sink_end(d->sink, e);
	if (r < 0)
		return r;
	if (known) {
		known->written = (uint8_t)d->layer;
		return 0;
	}
	node->layer = (uint8_t)d->layer;
	node->start = start;
	return content_add(&d->tree->contents, &digest, d->layer, start);
}

static int store_small(struct layer_data *d, size_t size, struct node *node, struct err *e)
{
	size_t got;
	int r = tar_read(d->tar, d->buffer, size, &got, e);

	if (r == 0 && got != size)
		r = cut_off(e);
	if (r == 0 && size)
		r = store_content(d, size, node, e);
	if (r == 0 && node->content == CONTENT_WANTED)
		r = tree_keep(d->tree, node, d->buffer, size);
	return r;
}

static int store_large(struct layer_data *d, uint64_t size, struct node *node, struct err *e)
{
	int r = begin(d, size, &node->start, e);

	node->layer = (uint8_t)d->layer;
	if (r == 0)
		r = copy(d, size, e);
	return r < 0 ? r : layer_sink_end(d->sink, e);
}

static uint32_t blocks_of(uint64_t size)
{
	return (uint32_t)((size + BLOCK_SIZE - 1) / BLOCK_SIZE);
}

/* Add blocks [first, end) to the map, joined with the run before when they touch. */
static void add_run(struct sparse_map *m, uint32_t first, uint32_t end)
{
	struct sparse_run *last = m->n_runs ? &m->runs[m->n_runs - 1] : NULL;

	if (last && first <= last->block + last->count)
		last->count = end - last->block;
	else
		m->runs[m->n_runs++] = (struct sparse_run){.block = first, .count = end - first};
}

/* The largest chunks at whose borders, or at the file's end, all runs begin and end. */
static uint32_t exact_chunk_log2(const struct sparse_map *m, uint32_t n_blocks)
{
	uint32_t borders = 0, log2 = 0;

	for (uint32_t i = 0; i < m->n_runs; i++) {
		uint32_t end = m->runs[i].block + m->runs[i].count;

		borders |= m->runs[i].block | (end < n_blocks ? end : 0);
	}
	while (log2 < MAX_CHUNK_LOG2 && (uint32_t)1 << log2 < n_blocks && !(borders >> log2 & 1))
		log2++;
	return log2;
}

/* Let runs begin and end at chunks of 2^log2 blocks. */
static void coarsen(struct sparse_map *m, uint32_t log2, uint32_t n_blocks)
{
	uint64_t mask = ((uint64_t)1 << log2) - 1;
	uint32_t n = m->n_runs;

	m->n_runs = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t first = m->runs[i].block & ~mask,
			 end = m->runs[i].block + (uint64_t)m->runs[i].count;

		end = (end + mask) & ~mask;
		add_run(m, (uint32_t)first, end < n_blocks ? (uint32_t)end : n_blocks);
	}
}

static void plan(struct sparse_map *m, const struct tar_entry *entry)
{
	uint32_t n_blocks = blocks_of(entry->size);

	for (size_t i = 0; i < entry->n_extents; i++) {
		const struct tar_extent *x = &entry->extents[i];

		add_run(m, (uint32_t)(x->offset / BLOCK_SIZE), blocks_of(x->offset + x->size));
	}
	m->chunk_log2 = exact_chunk_log2(m, n_blocks);
	if (n_blocks >> m->chunk_log2 <= MAX_CHUNKS)
		return;
	while (n_blocks >> m->chunk_log2 > MAX_CHUNKS)
		m->chunk_log2++;
	coarsen(m, m->chunk_log2, n_blocks);
}

/* One run: the extents in it, and zeroes around them. *x is the first extent that was not stored yet. */
static int store_run(struct layer_data *d, const struct tar_entry *entry, struct sparse_run *run, size_t *x,
		     struct err *e)
{
	uint64_t at = (uint64_t)run->block * BLOCK_SIZE, end = at + (uint64_t)run->count * BLOCK_SIZE;
	int r;

	if (end > entry->size)
		end = entry->size;
	run->layer = d->layer;
	r = begin(d, end - at, &run->start, e);
	for (; r == 0 && *x < entry->n_extents && entry->extents[*x].offset < end; ++*x) {
		const struct tar_extent *extent = &entry->extents[*x];

		r = fill(d, extent->offset - at, e);
		if (r == 0)
			r = copy(d, extent->size, e);
		at = extent->offset + extent->size;
	}
	if (r == 0)
		r = fill(d, end - at, e);
	return r < 0 ? r : layer_sink_end(d->sink, e);
}

static int store_sparse(struct layer_data *d, const struct tar_entry *entry, struct node *node, struct err *e)
{
	struct sparse_map *m = calloc(1, sizeof(*m) + entry->n_extents * sizeof(m->runs[0]));
	size_t x = 0;

	if (!m)
		return -ENOMEM;
	node->sparse = m; /* the node's from now on */
	node->layer = (uint8_t)d->layer;
	plan(m, entry);
	for (uint32_t i = 0; i < m->n_runs; i++) {
		int r = store_run(d, entry, &m->runs[i], &x, e);

		if (r < 0)
			return r;
	}
	if (m->n_runs == 1 && m->runs[0].count == blocks_of(entry->size)) { /* no hole in it */
		node->start = m->runs[0].start;
		node->sparse = NULL;
		free(m);
	}
	return 0;
}

int layer_data_store(struct layer_data *d, const struct tar_entry *entry, struct node *node, struct err *e)
{
	if (entry->size > TREE_MAX_FILE)
		return err_set(e, -ENOTSUP, "a file of %llu bytes; an image holds up to %llu",
			       (unsigned long long)entry->size, (unsigned long long)TREE_MAX_FILE);
	node->size = entry->size;
	if (entry->sparse && entry->size)
		return store_sparse(d, entry, node, e);
	if (entry->size <= LAYER_WHOLE_FILE)
		return store_small(d, (size_t)entry->size, node, e);
	return store_large(d, entry->size, node, e);
}
