/* SPDX-License-Identifier: Apache-2.0
 * Two walks over the tree in one order, depth first, so that a path's inodes lie near each other. The first
 * gives every inode its place: sizes of directories depend on names alone. The second writes block after
 * block, and holds no more than it gathers for one call. Layout: superblock and inodes from byte 1024 on,
 * then what is not inline, then the data. */
#include "publisher/erofs_writer.h"

#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "publisher/erofs_format.h"
#include "publisher/erofs_inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_INODE (EROFS_SUPER_OFFSET + EROFS_SUPER_SIZE)
#define GATHERED (64u << 10)

/* fsck.erofs 1.5 reads this much behind every inode, as if it had xattrs. */
#define BEHIND_INODE EROFS_XATTR_HEADER

struct when {
	int64_t sec;
	uint32_t nsec;
};

static int compare_times(const void *a, const void *b)
{
	const struct when *x = a, *y = b;

	if (x->sec != y->sec)
		return x->sec < y->sec ? -1 : 1;
	return x->nsec < y->nsec ? -1 : x->nsec > y->nsec;
}

/* The time that most inodes have, the earliest of several: inodes with it can be compact. */
static int choose_time(struct erofs_plan *p)
{
	struct tree_count count = tree_count(p->tree);
	struct when *times = calloc(count.names, sizeof(*times)), *best;
	size_t n = 0, most = 0;

	if (!times)
		return -ENOMEM;
	for (const struct name *at = tree_root(p->tree); at; at = tree_next(at))
		times[n++] = (struct when){at->node->mtime, at->node->mtime_nsec};
	qsort(times, n, sizeof(*times), compare_times);
	best = times;
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && !compare_times(&times[i], &times[end]);)
			end++;
		if (end - i > most) {
			most = end - i;
			best = &times[i];
		}
	}
	p->build_time = best->sec;
	p->build_nsec = best->nsec;
	free(times);
	return 0;
}

static uint64_t round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

/* Where an inode of this shape goes when `at` is free. Nothing that must lie in one block crosses the border:
 * the inode proper (readers are simpler), and inline data, together with their inode where that is possible.
 */
static uint64_t place(const struct erofs_shape *s, uint64_t at)
{
	uint64_t together = erofs_core_size(s);

	if (s->layout == EROFS_LAYOUT_INLINE)
		together += s->xattr_size + s->tail_size;
	at = round_up(at, EROFS_SLOT);
	if (at / BLOCK_SIZE != (at + together - 1) / BLOCK_SIZE)
		at = round_up(at, BLOCK_SIZE);
	return at;
}

static void plan_inodes(struct erofs_plan *p)
{
	uint64_t at = FIRST_INODE, dir_blocks = 0;

	for (const struct name *name = tree_root(p->tree); name; name = tree_next(name))
		name->node->nid = 0;
	for (const struct name *name = tree_root(p->tree); name; name = tree_next(name)) {
		struct node *n = name->node;
		struct erofs_shape s;
		uint32_t subdirs;

		if (n->nid) /* another name of it came first */
			continue;
		if (node_is_dir(n)) {
			n->size = erofs_dir_size(n, &subdirs);
			n->nlink = 2 + subdirs;
		}
		erofs_shape(&s, p, n);
		if (s.layout == EROFS_LAYOUT_CHUNKS)
			p->chunked = true;
		if (s.layout == EROFS_LAYOUT_PLAIN && (node_is_dir(n) || S_ISLNK(n->mode))) {
			n->start = (uint32_t)dir_blocks;
			dir_blocks += round_up(n->size, BLOCK_SIZE) / BLOCK_SIZE;
		}
		at = place(&s, at);
		n->nid = at / EROFS_SLOT;
		at += erofs_core_size(&s) + s.xattr_size + s.tail_size;
		p->n_inodes++;
	}
	p->inodes_end = at;
	p->dir_blocks = dir_blocks < UINT32_MAX ? (uint32_t)dir_blocks : UINT32_MAX;
}

int erofs_plan(struct erofs_plan *out, struct tree *t, const uint64_t *layer_blocks, uint32_t n_layers,
	       const uint8_t uuid[static 16], struct err *e)
{
	struct erofs_plan p = {.tree = t};
	uint64_t blocks;
	int r = tree_sort(t);

	if (n_layers > MAX_BLOBS - 1)
		return err_set(e, -ENOTSUP, "more than %u layers", MAX_BLOBS - 1);
	if (r == 0)
		r = choose_time(&p);
	if (r < 0)
		return r;
	memcpy(p.uuid, uuid, sizeof(p.uuid));
	plan_inodes(&p);
	blocks = round_up(p.inodes_end + BEHIND_INODE, BLOCK_SIZE) / BLOCK_SIZE;
	p.dir_start = (uint32_t)blocks;
	blocks += p.dir_blocks;
	p.meta_blocks = (uint32_t)blocks;
	for (uint32_t i = 0; i < n_layers && blocks <= EROFS_MAX_BLOCKS; i++) {
		p.layer_start[i] = (uint32_t)blocks;
		if (__builtin_add_overflow(blocks, layer_blocks[i], &blocks))
			blocks = UINT64_MAX;
	}
	if (blocks > EROFS_MAX_BLOCKS)
		return err_set(e, -E2BIG, "the image would be larger than 16 TiB");
	p.blocks = (uint32_t)blocks;
	*out = p;
	return 0;
}

void erofs_ranges(const struct erofs_plan *plan, const struct node *n, erofs_range_fn *range, void *arg)
{
	uint64_t at = n->nid * EROFS_SLOT, first = at / BLOCK_SIZE, end;
	struct erofs_shape s;

	erofs_shape(&s, plan, n);
	end = at + erofs_core_size(&s) + s.xattr_size + s.tail_size;
	range(arg, first, (end - 1) / BLOCK_SIZE - first + 1);
	if (s.layout == EROFS_LAYOUT_CHUNKS) {
		for (uint32_t i = 0; i < n->sparse->n_runs; i++)
			range(arg,
			      (uint64_t)plan->layer_start[n->sparse->runs[i].layer] +
				      n->sparse->runs[i].start,
			      n->sparse->runs[i].count);
	} else if (s.layout == EROFS_LAYOUT_PLAIN && n->size > 0) {
		if (S_ISREG(n->mode))
			range(arg, (uint64_t)plan->layer_start[n->layer] + n->start,
			      round_up(n->size, BLOCK_SIZE) / BLOCK_SIZE);
		else if (node_is_dir(n) || S_ISLNK(n->mode))
			range(arg, (uint64_t)plan->dir_start + n->start,
			      round_up(n->size, BLOCK_SIZE) / BLOCK_SIZE);
	}
}

/* What is gathered for the next call; `at` counts from the start of the image. */
struct out {
	const struct erofs_plan *plan;
	erofs_write_fn *write;
	void *arg;
	struct err *e;
	uint64_t at;
	size_t used;
	uint8_t *data; /* GATHERED bytes */
};

/* CRC-32C without the final inversion, which is how EROFS has it. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

static void encode_super(const struct erofs_plan *p, uint8_t out[static EROFS_SUPER_SIZE])
{
	memset(out, 0, EROFS_SUPER_SIZE);
	put_le32(out + SUPER_MAGIC, EROFS_MAGIC);
	put_le32(out + SUPER_COMPAT, EROFS_COMPAT);
	out[SUPER_BLOCK_LOG2] = 12;
	put_le16(out + SUPER_ROOT_NID, (uint16_t)tree_root(p->tree)->node->nid);
	put_le64(out + SUPER_INODES, p->n_inodes);
	put_le64(out + SUPER_TIME, (uint64_t)p->build_time);
	put_le32(out + SUPER_TIME_NSEC, p->build_nsec);
	put_le32(out + SUPER_BLOCKS, p->blocks);
	memcpy(out + SUPER_UUID, p->uuid, sizeof(p->uuid));
	put_le32(out + SUPER_INCOMPAT, p->chunked ? EROFS_CHUNKED_FILE : 0);
}

static int flush(struct out *o)
{
	int r;

	if (o->at ==
	    o->used) /* the first block is among them: its checksum covers all of it behind the boot sector */
		put_le32(o->data + EROFS_SUPER_OFFSET + SUPER_CHECKSUM,
			 crc32c(o->data + EROFS_SUPER_OFFSET, BLOCK_SIZE - EROFS_SUPER_OFFSET));
	r = o->write(o->arg, o->data, o->used, o->e);
	o->used = 0;
	return r;
}

/* Append; zeroes for p NULL. */
static int append(struct out *o, const void *p, uint64_t n)
{
	const uint8_t *from = p;

	while (n) {
		size_t piece = GATHERED - o->used;
		int r;

		if (piece > n)
			piece = (size_t)n;
		if (from) {
			memcpy(o->data + o->used, from, piece);
			from += piece;
		} else {
			memset(o->data + o->used, 0, piece);
		}
		o->used += piece;
		o->at += piece;
		n -= piece;
		r = o->used == GATHERED ? flush(o) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int append_to(struct out *o, uint64_t at)
{
	return append(o, NULL, at - o->at);
}

/* The block address of each chunk, or that it is a hole. */
static int write_chunks(struct out *o, const struct node *n, uint64_t n_chunks)
{
	const struct sparse_map *m = n->sparse;
	uint32_t run = 0;
	int r = 0;

	for (uint64_t i = 0; i < n_chunks && r == 0; i++) {
		uint64_t block = i << m->chunk_log2;
		uint32_t address = EROFS_HOLE;
		uint8_t bytes[4];

		while (run < m->n_runs && m->runs[run].block + (uint64_t)m->runs[run].count <= block)
			run++;
		if (run < m->n_runs && m->runs[run].block <= block)
			address = o->plan->layer_start[m->runs[run].layer] + m->runs[run].start +
				  (uint32_t)(block - m->runs[run].block);
		put_le32(bytes, address);
		r = append(o, bytes, sizeof(bytes));
	}
	return r;
}

static int write_tail(struct out *o, const struct node *n, const struct erofs_shape *s)
{
	struct erofs_dirents d;
	uint8_t block[BLOCK_SIZE];

	if (s->layout == EROFS_LAYOUT_CHUNKS)
		return write_chunks(o, n, s->tail_size / 4);
	if (s->layout != EROFS_LAYOUT_INLINE)
		return 0;
	if (S_ISLNK(n->mode))
		return append(o, n->target, n->size);
	erofs_dirents_begin(&d, n);
	return append(o, block, erofs_dir_block(&d, block));
}

static int write_inodes(struct out *o)
{
	for (const struct name *name = tree_root(o->plan->tree); name; name = tree_next(name)) {
		const struct node *n = name->node;
		uint8_t core[EROFS_INODE_MAX];
		struct erofs_shape s;
		int r;

		if (n->nid * EROFS_SLOT < o->at) /* another name of it came first */
			continue;
		erofs_shape(&s, o->plan, n);
		r = append_to(o, n->nid * EROFS_SLOT);
		if (r == 0)
			r = append(o, core, erofs_encode_inode(o->plan, n, &s, core));
		if (r == 0 && n->xattrs)
			r = append(o, n->xattrs->entries, n->xattrs->size);
		if (r == 0)
			r = write_tail(o, n, &s);
		if (r < 0)
			return r;
	}
	return append_to(o, (uint64_t)o->plan->dir_start * BLOCK_SIZE);
}

static int write_directory(struct out *o, const struct node *dir)
{
	struct erofs_dirents d;
	uint8_t block[BLOCK_SIZE];
	int r = 0;

	erofs_dirents_begin(&d, dir);
	while (r == 0 && erofs_dir_block(&d, block))
		r = append(o, block, BLOCK_SIZE);
	return r;
}

/* Directories and symlinks with blocks of their own, in the same order. */
static int write_blocks(struct out *o)
{
	for (const struct name *name = tree_root(o->plan->tree); name; name = tree_next(name)) {
		const struct node *n = name->node;
		struct erofs_shape s;
		int r;

		if (!node_is_dir(n) && !S_ISLNK(n->mode))
			continue;
		erofs_shape(&s, o->plan, n);
		if (s.layout == EROFS_LAYOUT_INLINE ||
		    (uint64_t)(o->plan->dir_start + n->start) * BLOCK_SIZE < o->at)
			continue;
		r = node_is_dir(n) ? write_directory(o, n) : append(o, n->target, n->size);
		if (r == 0)
			r = append_to(o, round_up(o->at, BLOCK_SIZE));
		if (r < 0)
			return r;
	}
	return 0;
}

int erofs_write(const struct erofs_plan *plan, erofs_write_fn *write, void *arg, struct err *e)
{
	cleanup_free uint8_t *data = malloc(GATHERED);
	struct out o = {.plan = plan, .write = write, .arg = arg, .e = e, .data = data};
	uint8_t super[EROFS_SUPER_SIZE];
	int r;

	if (!data)
		return -ENOMEM;
	encode_super(plan, super);
	r = append_to(&o, EROFS_SUPER_OFFSET);
	if (r == 0)
		r = append(&o, super, sizeof(super));
	if (r == 0)
		r = write_inodes(&o);
	if (r == 0)
		r = write_blocks(&o);
	if (r == 0 && o.used)
		r = flush(&o);
	return r;
}
