/* SPDX-License-Identifier: Apache-2.0
 * The checked blocks of chunk table and hash tree: two direct-mapped caches, one for each kind, filled in
 * groups of neighbours that share a parent, so that a miss costs one request a level at most. */
#include "guestfs/table.h"
#include "crypto/merkle.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 256u /* of each cache: an index of WIRE_MAX_INDEX_READ bytes fits without collisions */
#define GROUP 16u  /* divides MERKLE_FANOUT: blocks of a group have one parent */
#define ENTRIES_PER_BLOCK (MERKLE_BLOCK / CHUNK_ENTRY_SIZE)
#define TABLE_LEVEL (-1)

static_assert(SLOTS * MERKLE_BLOCK >= WIRE_MAX_INDEX_READ, "a small index is kept whole");
static_assert(MERKLE_FANOUT % GROUP == 0, "a group has one parent");

struct slot {
	uint64_t number; /* of the block in its area; valid when data is there */
	uint8_t *data;	 /* owned, MERKLE_BLOCK bytes, checked */
};

struct table {
	struct source *source;
	const struct descriptor *d;
	const uint64_t *blob_sizes;
	struct merkle_shape shape;
	uint64_t hash_start;  /* byte of the index where the hash blocks begin */
	pthread_mutex_t lock; /* guards the slots; never held across I/O */
	struct slot blocks[SLOTS], hashes[SLOTS];
};

/* Level −1 is the table, level 0 the hash blocks above it, and so on. */
static uint64_t level_size(const struct table *t, int level)
{
	return level == TABLE_LEVEL ? t->shape.n_data : t->shape.n_blocks[level];
}

static uint64_t block_offset(const struct table *t, int level, uint64_t index)
{
	if (level == TABLE_LEVEL)
		return index * MERKLE_BLOCK;
	return t->hash_start + (t->shape.first[level] + index) * MERKLE_BLOCK;
}

static struct slot *slot_of(struct table *t, int level, uint64_t index, uint64_t *number)
{
	*number = level == TABLE_LEVEL ? index : t->shape.first[level] + index;
	return &(level == TABLE_LEVEL ? t->blocks : t->hashes)[*number % SLOTS];
}

static bool slot_copy(struct table *t, int level, uint64_t index, size_t at, void *to, size_t n)
{
	uint64_t number;
	struct slot *s = slot_of(t, level, index, &number);
	bool hit;

	pthread_mutex_lock(&t->lock);
	hit = s->data && s->number == number;
	if (hit)
		memcpy(to, s->data + at, n);
	pthread_mutex_unlock(&t->lock);
	return hit;
}

/* Without memory the block is not kept, and that is all. */
static void slot_store(struct table *t, int level, uint64_t index, const uint8_t *block)
{
	uint64_t number;
	struct slot *s = slot_of(t, level, index, &number);

	pthread_mutex_lock(&t->lock);
	if (!s->data)
		s->data = malloc(MERKLE_BLOCK);
	if (s->data) {
		memcpy(s->data, block, MERKLE_BLOCK);
		s->number = number;
	}
	pthread_mutex_unlock(&t->lock);
}

static int block_read(struct table *t, int level, uint64_t index, size_t at, void *to, size_t n,
		      struct err *e);

/* What the tree above says about n blocks (of one group) from `first` on. */
static int group_digests(struct table *t, int level, uint64_t first, size_t n, struct digest *out,
			 struct err *e)
{
	if (level == t->shape.n_levels - 1) {
		*out = t->d->root_hash; /* the top level is one block */
		return 0;
	}
	return block_read(t, level + 1, first / MERKLE_FANOUT, (size_t)(first % MERKLE_FANOUT) * DIGEST_SIZE,
			  out, n * DIGEST_SIZE, e);
}

/* Check `raw`, n blocks of one group as the source sent them, and keep those that are right. 0 says that
 * block `want` is among them. */
static int group_check(struct table *t, int level, uint64_t first, size_t n, const uint8_t *raw,
		       uint64_t want, struct err *e)
{
	struct digest digests[GROUP];
	int result = 0, r = group_digests(t, level, first, n, digests, e);

	if (r < 0)
		return r;
	for (size_t k = 0; k < n; k++) {
		const uint8_t *block = raw + k * MERKLE_BLOCK;

		r = merkle_check(block, &digests[k], t->d->salt);
		if (r == 0)
			slot_store(t, level, first + k, block);
		else if (first + k == want)
			result = err_set(e, r, "%s block %llu is not what the hash tree says",
					 level == TABLE_LEVEL ? "chunk table" : "hash tree",
					 (unsigned long long)want);
	}
	return result;
}

/* Fetch and check the group around block `index`; give n bytes of that block at `at`. */
static int group_load(struct table *t, int level, uint64_t index, size_t at, void *to, size_t n,
		      struct err *e)
{
	uint64_t first = index - index % GROUP, left = level_size(t, level) - first;
	size_t count = left < GROUP ? (size_t)left : GROUP;
	cleanup_free uint8_t *raw = malloc(count * MERKLE_BLOCK);
	int r;

	if (!raw)
		return err_set(e, -ENOMEM, "out of memory");
	r = t->source->ops->read_index(t->source, raw, count * MERKLE_BLOCK, block_offset(t, level, first),
				       e);
	if (r == 0)
		r = group_check(t, level, first, count, raw, index, e);
	if (r == 0)
		memcpy(to, raw + (size_t)(index - first) * MERKLE_BLOCK + at, n);
	return r;
}

static int block_read(struct table *t, int level, uint64_t index, size_t at, void *to, size_t n,
		      struct err *e)
{
	if (slot_copy(t, level, index, at, to, n))
		return 0;
	return group_load(t, level, index, at, to, n, e);
}

/* Fetch n bytes of the index at `start` and keep the blocks in them that are right, top of the tree first. */
static int prefill(struct table *t, uint64_t start, size_t n, struct err *e)
{
	cleanup_free uint8_t *raw = malloc(n);
	int r;

	if (!raw)
		return err_set(e, -ENOMEM, "out of memory");
	r = t->source->ops->read_index(t->source, raw, n, start, e);
	for (int level = t->shape.n_levels - 1; r == 0 && level >= TABLE_LEVEL; level--) {
		uint64_t from = block_offset(t, level, 0), blocks = level_size(t, level);

		if (from < start || from >= start + n)
			continue;
		if (blocks > (start + n - from) / MERKLE_BLOCK)
			blocks = (start + n - from) / MERKLE_BLOCK;
		for (uint64_t first = 0; first < blocks; first += GROUP) {
			uint64_t left = blocks - first;

			/* what is wrong here is told to whoever needs it */
			(void)group_check(t, level, first, left < GROUP ? (size_t)left : GROUP,
					  raw + (from - start) + first * MERKLE_BLOCK, first, NULL);
		}
	}
	return r;
}

int table_open(struct table **out, struct source *source, const struct descriptor *d,
	       const uint64_t *blob_sizes, struct err *e)
{
	uint64_t table_size = chunk_table_size(d->n_chunks), hash_size;
	struct table *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->source = source;
	t->d = d;
	t->blob_sizes = blob_sizes;
	pthread_mutex_init(&t->lock, NULL);
	r = merkle_shape_init(&t->shape, table_size / MERKLE_BLOCK);
	if (r < 0) {
		table_close(t);
		return err_set(e, r, "chunk table of %llu bytes", (unsigned long long)table_size);
	}
	t->hash_start = table_size + MERKLE_BLOCK; /* the superblock stands between; nobody reads it [V2] */
	hash_size = t->shape.n_hash * MERKLE_BLOCK;
	if (d->meta_offset <= WIRE_MAX_INDEX_READ)
		r = prefill(t, 0, (size_t)d->meta_offset, e);
	else
		r = prefill(t, t->hash_start,
			    hash_size < WIRE_MAX_INDEX_READ ? (size_t)hash_size : WIRE_MAX_INDEX_READ, e);
	if (r < 0) {
		table_close(t);
		return r;
	}
	*out = t;
	return 0;
}

void table_close(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < SLOTS; i++) {
		free(t->blocks[i].data);
		free(t->hashes[i].data);
	}
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int table_entry(struct table *t, uint32_t number, struct chunk_entry *out, struct err *e)
{
	uint8_t raw[CHUNK_ENTRY_SIZE];
	int r;

	if (number >= t->d->n_chunks)
		return err_set(e, -EINVAL, "chunk %u of %u", number, t->d->n_chunks);
	r = block_read(t, TABLE_LEVEL, number / ENTRIES_PER_BLOCK,
		       number % ENTRIES_PER_BLOCK * CHUNK_ENTRY_SIZE, raw, sizeof(raw), e);
	if (r < 0)
		return r;
	return chunk_entry_decode(out, number, raw, t->d, t->blob_sizes, e);
}

int table_verify_end(struct table *t, struct err *e)
{
	size_t used = t->d->n_chunks % ENTRIES_PER_BLOCK * CHUNK_ENTRY_SIZE;
	uint8_t raw[MERKLE_BLOCK];
	struct bytes b;
	int r;

	if (used == 0)
		return 0;
	r = block_read(t, TABLE_LEVEL, t->shape.n_data - 1, 0, raw, sizeof(raw), e);
	if (r < 0)
		return r;
	b = bytes_of(raw + used, sizeof(raw) - used);
	bytes_zero(&b, b.left);
	return bytes_end(&b) ? 0 : err_set(e, -EUCLEAN, "chunk table: bytes behind the last entry");
}
