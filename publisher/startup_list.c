/* SPDX-License-Identifier: Apache-2.0
 * Lines become paths and ranges; paths become the metadata that leads to them. */
#include "publisher/startup_list.h"
#include "proto/base/bytes.h"
#include "publisher/digits.h"
#include "publisher/startup_place.h"
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <string.h>

/* Nothing but a number up to `end`. */
static bool parse_number(const char *text, const char *end, uint64_t *out)
{
	const uint8_t *p = (const uint8_t *)text, *behind = (const uint8_t *)end;

	return digits(&p, behind, out) && p == behind;
}

/* OFFSET TAB SIZE: the blocks that these bytes lie in. */
static bool parse_range(const char *p, const char *end, struct startup_line *out)
{
	const char *tab = memchr(p, '\t', (size_t)(end - p));
	uint64_t offset, size, behind;

	if (!tab || !parse_number(p, tab, &offset) || !parse_number(tab + 1, end, &size) ||
	    __builtin_add_overflow(offset, size, &behind) || behind > TREE_MAX_FILE)
		return false;
	out->first = offset / BLOCK_SIZE;
	out->end = size ? (behind + BLOCK_SIZE - 1) / BLOCK_SIZE : out->first;
	return true;
}

int startup_line_next(const char **text, size_t *size, struct startup_line *out, struct err *e)
{
	const char *line = *text, *newline, *end, *tab;

	if (*size == 0)
		return STARTUP_END;
	newline = memchr(line, '\n', *size);
	end = newline ? newline : line + *size;
	tab = memchr(line, '\t', (size_t)(end - line));
	*text = newline ? newline + 1 : end;
	*size -= (size_t)(*text - line);
	*out = (struct startup_line){line, (size_t)((tab ? tab : end) - line), 0, UINT64_MAX};
	if (tab && (out->length == 0 || !parse_range(tab + 1, end, out)))
		return err_set(e, -EINVAL, "start-up list: \"%.*s\" is no PATH, nor PATH, offset and size",
			       end - line > 200 ? 200 : (int)(end - line), line);
	return STARTUP_LINE;
}

struct block_list {
	struct buf blocks; /* of uint32_t */
	const struct erofs_plan *plan;
	uint64_t end; /* blocks from here on are not wanted */
};

static void add_range(void *arg, uint64_t first, uint64_t count)
{
	struct block_list *l = arg;

	for (uint64_t i = 0; i < count && first + i < l->end; i++) {
		uint32_t block = (uint32_t)(first + i);

		buf_put(&l->blocks, &block, sizeof(block));
	}
}

static void add_metadata(void *arg, const struct node *n)
{
	const struct block_list *l = arg;

	erofs_ranges(l->plan, n, add_range, arg);
}

/* One path: the metadata on the way, and data that has no other place. */
static int add_line(struct block_list *l, const struct startup_line *line)
{
	struct node *n;
	int r = tree_visit(l->plan->tree, line->path, line->length, add_metadata, l);

	if (r == 0)
		r = tree_walk(l->plan->tree, line->path, line->length, TREE_LOOK, &n);
	if (r == 0 && line->first < line->end && !startup_place_moves(n)) {
		l->end = UINT64_MAX;
		add_metadata(l, n);
		l->end = l->plan->meta_blocks;
	}
	return r;
}

int startup_list_blocks(uint32_t **blocks, size_t *n, size_t *unknown, const char *text, size_t size,
			const struct erofs_plan *plan, uint64_t n_placed, struct err *e)
{
	struct block_list l = {{.max = SIZE_MAX / 2}, plan, plan->meta_blocks};
	struct startup_line line;
	int r;

	*unknown = 0;
	add_range(&l, 0, 1); /* the superblock */
	while ((r = startup_line_next(&text, &size, &line, e)) == STARTUP_LINE) {
		int found = line.length ? add_line(&l, &line) : 0;

		if (found == -ENOMEM)
			break;
		*unknown += found < 0;
	}
	l.end = UINT64_MAX;
	add_range(&l, plan->layer_start[STARTUP_LAYER], n_placed);
	if (r != STARTUP_END || buf_failed(&l.blocks)) {
		buf_deinit(&l.blocks);
		return r < 0 ? r : err_set(e, -ENOMEM, "out of memory");
	}
	*n = l.blocks.size / sizeof(uint32_t);
	*blocks = (uint32_t *)(void *)l.blocks.data;
	return 0;
}
