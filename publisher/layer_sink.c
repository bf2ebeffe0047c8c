/* SPDX-License-Identifier: Apache-2.0
 * File data in, a data blob out: runs are laid block after block into the pool's buffer, the cutter says
 * where a chunk ends, and results come back in order to be appended to the blob. */
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/format/format.h"
#include "publisher/sealed_layer.h"

#include "crypto/sha256.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_SIZE 64u

struct layer_sink {
	struct seal_pool *pool;
	const struct cutter *cutter;
	int fd;
	struct sha256 hash;
	struct sealed_layer layer; /* grows as results come in */
	size_t room;		   /* of layer.extents */

	size_t fill;	 /* bytes of the chunk being made */
	uint64_t blocks; /* whole blocks taken so far, those of `fill` included */
	bool in_run, large;
	uint64_t run_left;
	uint8_t tail[TAIL_SIZE]; /* last bytes of the run, of which n_tail count */
	size_t n_tail;
};

void sealed_layer_deinit(struct sealed_layer *l)
{
	chunk_list_deinit(&l->chunks);
	free(l->extents);
	*l = (struct sealed_layer){0};
}

static int add_extent(struct layer_sink *s, uint32_t number)
{
	struct sealed_layer *l = &s->layer;

	if (l->n_extents == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		uint32_t *extents = reallocarray(l->extents, room, sizeof(*extents));

		if (!extents)
			return -ENOMEM;
		l->extents = extents;
		s->room = room;
	}
	l->extents[l->n_extents++] = number;
	return 0;
}

/* A chunk was sealed: it goes to the blob unless the blob has it. */
static int take_chunk(void *arg, const struct sealed_chunk *chunk, const uint8_t *stored, struct err *e)
{
	struct layer_sink *s = arg;
	uint32_t number;
	int known = chunk_list_add(&s->layer.chunks, chunk, s->layer.size, 0, &number);
	int r = known < 0 ? known : add_extent(s, number);

	if (r < 0)
		return err_errno(e, r, "chunk %zu of the layer", s->layer.n_extents);
	if (known == CHUNK_KNOWN)
		return 0;
	r = write_full(s->fd, stored, chunk->stored_size);
	if (r < 0)
		return err_errno(e, r, "cannot write the data blob");
	r = sha256_update(&s->hash, stored, chunk->stored_size);
	s->layer.size += chunk->stored_size;
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

int layer_sink_open(struct layer_sink **out, int fd, struct seal_pool *pool, const struct secret *prk_domain,
		    const struct cutter *cutter, struct err *e)
{
	struct layer_sink *s = calloc(1, sizeof(*s));

	if (!s || sha256_init(&s->hash) < 0) {
		free(s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->pool = pool;
	s->cutter = cutter;
	s->fd = fd;
	seal_pool_begin(pool, prk_domain, take_chunk, s);
	*out = s;
	return 0;
}

static int cut(struct layer_sink *s, struct err *e)
{
	size_t n = s->fill;

	s->fill = 0;
	return n == 0 ? 0 : seal_pool_submit(s->pool, n, e);
}

int layer_sink_begin(struct layer_sink *s, uint64_t size, uint64_t *first_block, struct err *e)
{
	int r = 0;

	if (s->in_run)
		return err_set(e, -EINVAL, "a run begins inside another");
	s->large = size >= CUT_LARGE_FILE;
	/* a large file has chunks of its own; a small one is never in two */
	if (s->large || s->fill + size > CUT_MAX)
		r = cut(s, e);
	if (r < 0)
		return r;
	s->in_run = true;
	s->run_left = size;
	s->n_tail = 0;
	*first_block = s->blocks;
	return 0;
}

/* What the cutter looks at: the last bytes of the run so far. */
static void keep_tail(struct layer_sink *s, const uint8_t *p, size_t n)
{
	size_t keep = n < TAIL_SIZE ? TAIL_SIZE - n : 0;

	if (keep > s->n_tail)
		keep = s->n_tail;
	memmove(s->tail, s->tail + s->n_tail - keep, keep);
	if (n > TAIL_SIZE - keep) {
		p += n - (TAIL_SIZE - keep);
		n = TAIL_SIZE - keep;
	}
	memcpy(s->tail + keep, p, n);
	s->n_tail = keep + n;
}

static int block_is_full(struct layer_sink *s, struct err *e)
{
	s->blocks++;
	if (s->large && cut_after_block(s->cutter, s->tail, s->n_tail, s->fill))
		return cut(s, e);
	return 0;
}

int layer_sink_write(struct layer_sink *s, const void *data, size_t n, struct err *e)
{
	const uint8_t *p = data;

	if (!s->in_run || n > s->run_left)
		return err_set(e, -EINVAL, "more bytes than the run has");
	while (n > 0) {
		size_t part = BLOCK_SIZE - s->fill % BLOCK_SIZE;

		if (part > n)
			part = n;
		memcpy(seal_pool_buffer(s->pool) + s->fill, p, part);
		keep_tail(s, p, part);
		p += part;
		n -= part;
		s->fill += part;
		s->run_left -= part;
		if (s->fill % BLOCK_SIZE == 0) {
			int r = block_is_full(s, e);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int layer_sink_end(struct layer_sink *s, struct err *e)
{
	size_t over = s->fill % BLOCK_SIZE;

	if (!s->in_run || s->run_left)
		return err_set(e, -EINVAL, "%llu bytes of the run did not come",
			       (unsigned long long)s->run_left);
	s->in_run = false;
	if (over) {
		memset(seal_pool_buffer(s->pool) + s->fill, 0, BLOCK_SIZE - over);
		s->fill += BLOCK_SIZE - over;
		s->blocks++;
	}
	if (s->n_tail == 0)
		return 0;
	if (s->large || cut_after_small_file(s->cutter, s->tail, s->n_tail, s->fill))
		return cut(s, e);
	return 0;
}

int layer_sink_finish(struct layer_sink *s, struct sealed_layer *out, struct err *e)
{
	int r;

	if (s->in_run)
		return err_set(e, -EINVAL, "the layer ends inside a run");
	r = cut(s, e);
	if (r == 0)
		r = seal_pool_drain(s->pool, e);
	if (r < 0)
		return r;
	r = sha256_final(&s->hash, &s->layer.digest);
	if (r < 0)
		return err_set(e, r, "out of memory");
	s->layer.n_blocks = s->blocks;
	*out = s->layer;
	s->layer = (struct sealed_layer){0};
	return 0;
}

void layer_sink_close(struct layer_sink *s)
{
	if (!s)
		return;
	/* results may still be on their way to us */
	(void)seal_pool_drain(s->pool, NULL);
	sealed_layer_deinit(&s->layer);
	sha256_deinit(&s->hash);
	explicit_bzero(s->tail, sizeof(s->tail));
	free(s);
}
