/* SPDX-License-Identifier: Apache-2.0
 * One number for each unit of each named file: where its copy lies. Within a part of the list a file's units
 * stay together, in the file's order: what the kernel reads in one piece lies in one piece. */
#include "publisher/startup_place.h"
#include "proto/base/cleanup.h"
#include "publisher/layer_plain.h"
#include "publisher/startup_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNITS (1u << 15) /* of one file: 4 bytes of metadata for each */

#define STAYS UINT32_MAX
#define WANTED (UINT32_MAX - 1)

struct file {
	struct node *node;
	uint32_t n_blocks, unit_log2, n_units;
	uint32_t *copy;	  /* owned; first block of each unit's copy in the sink, STAYS, or WANTED */
	bool wanted_here; /* in the current part */
};

struct placing {
	const struct startup_place *p;
	struct layer_plain *plain[MAX_BLOBS]; /* owned; by layer, made at first need */
	struct file *files;		      /* owned */
	size_t n, room;
	size_t *part; /* owned, as long as `files`: those of the current part, in the order of first need */
	size_t n_part;
};

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* Before that it has runs, and after it may; nothing was moved twice. */
bool startup_place_moves(const struct node *n)
{
	if (!S_ISREG(n->mode) || n->size == 0)
		return false;
	if (!n->sparse)
		return true;
	for (uint32_t i = 0; i < n->sparse->n_runs; i++)
		if (n->sparse->runs[i].layer == STARTUP_LAYER)
			return true;
	return false;
}

static int file_init(struct file *f, struct node *n)
{
	*f = (struct file){.node = n, .n_blocks = (uint32_t)((n->size + BLOCK_SIZE - 1) / BLOCK_SIZE)};
	while ((f->n_blocks - 1) >> f->unit_log2 >= MAX_UNITS)
		f->unit_log2++;
	f->n_units = ((f->n_blocks - 1) >> f->unit_log2) + 1;
	f->copy = malloc(f->n_units * sizeof(*f->copy));
	for (uint32_t i = 0; f->copy && i < f->n_units; i++)
		f->copy[i] = STAYS;
	return f->copy ? 0 : -ENOMEM;
}

/* The node's file, made at first need. node->nid is free until the tree is planned: it finds the file. */
static struct file *file_of(struct placing *p, struct node *n)
{
	if (n->nid)
		return &p->files[n->nid - 1];
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 256;
		struct file *files = reallocarray(p->files, room, sizeof(*files));
		size_t *part = files ? reallocarray(p->part, room, sizeof(*part)) : NULL;

		if (files)
			p->files = files;
		if (!part)
			return NULL;
		p->part = part;
		p->room = room;
	}
	if (file_init(&p->files[p->n], n) < 0)
		return NULL;
	n->nid = ++p->n;
	return &p->files[p->n - 1];
}

static int want(struct placing *p, const struct startup_line *line)
{
	struct file *f;
	struct node *n;
	int r = tree_walk(p->p->tree, line->path, line->length, TREE_LOOK, &n);

	if (r < 0)
		return r == -ENOMEM ? r : 0; /* startup_list_blocks() counts those */
	if (line->first >= line->end || !startup_place_moves(n))
		return 0;
	f = file_of(p, n);
	if (!f)
		return -ENOMEM;
	for (uint64_t b = line->first >> f->unit_log2; b < f->n_units && b << f->unit_log2 < line->end; b++) {
		if (f->copy[b] != STAYS)
			continue;
		f->copy[b] = WANTED;
		if (!f->wanted_here)
			p->part[p->n_part++] = n->nid - 1;
		f->wanted_here = true;
	}
	return 0;
}

static const uint8_t *read_block(struct placing *p, const struct node *n, uint32_t block, int *error,
				 struct err *e)
{
	struct layer_plain **plain = &p->plain[n->layer];

	*error = *plain ? 0 : layer_plain_open(plain, &p->p->layers[n->layer], p->p->blobs[n->layer], e);
	return *error < 0 ? NULL : layer_plain_block(*plain, (uint64_t)n->start + block, error, e);
}

/* Copy blocks [first, end) of a file; *start is where they lie then. */
static int copy_run(struct placing *p, const struct node *n, uint32_t first, uint32_t end, uint64_t *start,
		    struct err *e)
{
	struct layer_sink *sink = p->p->sink;
	int r = layer_sink_begin(sink, (uint64_t)(end - first) * BLOCK_SIZE, start, e);

	while (r == 0 && first < end) {
		const uint8_t *block = read_block(p, n, first++, &r, e);

		if (block)
			r = layer_sink_write(sink, block, BLOCK_SIZE, e);
	}
	return r < 0 ? r : layer_sink_end(sink, e);
}

static int copy_file(struct placing *p, struct file *f, struct err *e)
{
	for (uint32_t i = 0, end; i < f->n_units; i = end) {
		uint64_t start, last;
		int r;

		for (end = i; end < f->n_units && f->copy[end] == WANTED; end++)
			;
		if (end == i) {
			end++;
			continue;
		}
		last = (uint64_t)end << f->unit_log2;
		r = copy_run(p, f->node, i << f->unit_log2, last < f->n_blocks ? (uint32_t)last : f->n_blocks,
			     &start, e);
		if (r < 0)
			return r;
		if (start + last > WANTED)
			return err_set(e, -E2BIG, "the start-up data is more than an image can address");
		for (uint32_t k = i; k < end; k++)
			f->copy[k] = (uint32_t)start + ((k - i) << f->unit_log2);
	}
	f->wanted_here = false;
	return 0;
}

static int end_part(struct placing *p, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < p->n_part && r == 0; i++)
		r = copy_file(p, &p->files[p->part[i]], e);
	p->n_part = 0;
	return r;
}

/* The run that unit `i` belongs to, joined with the last one where they touch. */
static void add_run(struct sparse_map *m, const struct file *f, uint32_t i)
{
	uint32_t block = i << f->unit_log2, left = f->n_blocks - block, unit = 1u << f->unit_log2;
	struct sparse_run run = {.block = block,
				 .count = left < unit ? left : unit,
				 .start = f->node->start + block,
				 .layer = f->node->layer},
			  *last = m->n_runs ? &m->runs[m->n_runs - 1] : NULL;

	if (f->copy[i] != STAYS) {
		run.start = f->copy[i];
		run.layer = STARTUP_LAYER;
	}
	if (last && last->layer == run.layer && last->start + last->count == run.start)
		last->count += run.count;
	else
		m->runs[m->n_runs++] = run;
}

/* From now on the inode means the copies. */
static int point(const struct file *f)
{
	struct sparse_map *m = calloc(1, sizeof(*m) + f->n_units * sizeof(m->runs[0])), *shrunk;

	f->node->nid = 0;
	if (!m)
		return -ENOMEM;
	m->chunk_log2 = f->unit_log2;
	for (uint32_t i = 0; i < f->n_units; i++)
		add_run(m, f, i);
	if (m->n_runs > 1) {
		shrunk = realloc(m, sizeof(*m) + m->n_runs * sizeof(m->runs[0]));
		f->node->sparse = shrunk ? shrunk : m;
		return 0;
	}
	f->node->start = m->runs[0].start;
	f->node->layer = (uint8_t)m->runs[0].layer;
	free(m);
	return 0;
}

static int place(struct placing *p, const char *text, size_t size, struct err *e)
{
	struct startup_line line;
	int r;

	while ((r = startup_line_next(&text, &size, &line, e)) == STARTUP_LINE) {
		r = line.length ? want(p, &line) : end_part(p, e);
		if (r < 0)
			return r == -ENOMEM ? no_memory(e) : r;
	}
	return r < 0 ? r : end_part(p, e);
}

int startup_place(const struct startup_place *where, const char *text, size_t size, struct err *e)
{
	struct placing p = {.p = where};
	int r = place(&p, text, size, e);

	for (size_t i = 0; i < p.n; i++) {
		if (point(&p.files[i]) < 0 && r == 0)
			r = no_memory(e);
		free(p.files[i].copy);
	}
	for (size_t i = 0; i < MAX_BLOBS; i++)
		layer_plain_close(p.plain[i]);
	free(p.files);
	free(p.part);
	return r;
}
