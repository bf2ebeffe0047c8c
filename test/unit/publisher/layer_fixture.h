/* SPDX-License-Identifier: Apache-2.0
 * Layers for tests: tars in memory as sources, and a sink that keeps what it is given. A test that includes
 * this brings its own layer_sink. */
#ifndef COCOON_TEST_LAYER_FIXTURE_H
#define COCOON_TEST_LAYER_FIXTURE_H

#include "crypto/sha256.h"
#include "proto/format/format.h"
#include "publisher/layer_reader.h"
#include "publisher/tree_nodes.h"
#include "test/unit/publisher/tar_fixture.h"

#include <errno.h>
#include <zlib.h>
#include <zstd.h>

#define PLAIN "application/vnd.oci.image.layer.v1.tar"

struct layer_sink {
	struct buf data; /* whole blocks */
	uint64_t end;	 /* of the open run */
	uint64_t largest;
	unsigned runs;
	bool counting; /* keep the size only */
	uint64_t counted;
	int fail_at; /* the run that fails, counted from 1 */
};

#define SINK                                                                                                 \
	{                                                                                                    \
		.data = {.max = 64u << 20 }                                                                  \
	}

int layer_sink_begin(struct layer_sink *s, uint64_t size, uint64_t *first_block, struct err *e)
{
	uint64_t at = s->counting ? s->counted : s->data.size;

	if ((int)++s->runs == s->fail_at)
		return err_set(e, -ENOSPC, "the sink is full");
	cr_assert_eq(at % BLOCK_SIZE, 0, "a run within a run");
	cr_assert_gt(size, 0, "an empty run");
	s->end = at + size;
	s->largest = size > s->largest ? size : s->largest;
	*first_block = at / BLOCK_SIZE;
	return 0;
}

int layer_sink_write(struct layer_sink *s, const void *p, size_t n, struct err *e)
{
	(void)e;
	if (s->counting)
		s->counted += n;
	else
		buf_put(&s->data, p, n);
	cr_assert_not(buf_failed(&s->data));
	return 0;
}

int layer_sink_end(struct layer_sink *s, struct err *e)
{
	(void)e;
	cr_assert_eq(s->counting ? s->counted : s->data.size, s->end,
		     "a run of another length than promised");
	if (s->counting)
		s->counted = (s->counted + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	else
		buf_zero(&s->data, -s->data.size & (BLOCK_SIZE - 1));
	return 0;
}

static inline uint64_t sink_blocks(const struct layer_sink *s)
{
	return (s->counting ? s->counted : s->data.size) / BLOCK_SIZE;
}

struct memory {
	const uint8_t *p;
	size_t left, piece; /* at most this much in one call */
	int fail;	    /* returned instead of the end */
};

static inline int memory_read(void *arg, void *buf, size_t room, size_t *n, struct err *e)
{
	struct memory *m = arg;

	if (!m->left && m->fail)
		return err_set(e, m->fail, "the source failed");
	*n = m->left < room ? m->left : room;
	if (m->piece && *n > m->piece)
		*n = m->piece;
	if (*n)
		memcpy(buf, m->p, *n);
	m->p += *n;
	m->left -= *n;
	return 0;
}

/* A source over `stored`, whose tar is `tar`. */
static inline struct layer_source source_of(struct memory *m, const char *type, const struct buf *stored,
					    const struct buf *tar)
{
	struct layer_source s = {.read = memory_read, .arg = m, .media_type = type, .size = stored->size};

	*m = (struct memory){.p = stored->data, .left = stored->size};
	cr_assert_eq(sha256(&s.digest, stored->data, stored->size), 0);
	cr_assert_eq(sha256(&s.diff_id, tar->data, tar->size), 0);
	return s;
}

static inline int apply_tar(struct tree *t, unsigned layer, struct tar_out *tar, struct layer_sink *sink,
			    struct layer_stats *stats, struct err *e)
{
	struct memory m;
	struct layer_source s;
	struct layer_stats ignored;

	tar_end(tar);
	s = source_of(&m, PLAIN, &tar->b, &tar->b);
	return layer_apply(t, layer, &s, sink, stats ? stats : &ignored, e);
}

/* Apply, and let go of the tar. */
static inline void layer_of(struct tree *t, unsigned layer, struct tar_out *tar, struct layer_sink *sink)
{
	struct err e = {""};
	int r = apply_tar(t, layer, tar, sink, NULL, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
	buf_deinit(&tar->b);
}

/* The inode that a path names, NULL when there is none. */
static inline struct node *at(struct tree *t, const char *path)
{
	struct tree_path split;
	struct node *dir;
	struct name *n;

	cr_assert_eq(tree_path_split(&split, path, NULL), 0);
	if (!split.name)
		return tree_root(t)->node;
	if (tree_walk(t, split.parent, split.parent_length, TREE_LOOK, &dir) < 0 || !node_is_dir(dir))
		return NULL;
	n = tree_find(t, dir, split.name, split.name_length);
	return n ? n->node : NULL;
}

#endif
