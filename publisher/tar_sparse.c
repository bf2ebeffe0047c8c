/* SPDX-License-Identifier: Apache-2.0
 * The maps of sparse files. */
#include "publisher/tar_sparse.h"

#include "publisher/tar_header.h"

#include <errno.h>
#include <stdlib.h>

/* Offsets in the header block of the oldest form, and in the blocks that continue its map. */
enum {
	GNU_MAP = 386,
	GNU_MAP_CELLS = 4,
	GNU_MORE = 482,
	GNU_SIZE = 483,
	NEXT_MAP = 0,
	NEXT_MAP_CELLS = 21,
	NEXT_MORE = 504,
	CELL = 24,
	NUMBER = 12,
};

static int malformed(struct err *e)
{
	return err_set(e, -EUCLEAN, "a malformed map of a sparse file");
}

void tar_map_deinit(struct tar_map *m)
{
	free(m->extents);
	*m = (struct tar_map){0};
}

int tar_map_add(struct tar_map *m, uint64_t offset, uint64_t size, struct err *e)
{
	const struct tar_extent *last = m->n ? &m->extents[m->n - 1] : NULL;

	if (offset > INT64_MAX || size > INT64_MAX || (last && offset < last->offset + last->size))
		return malformed(e);
	if (!size)
		return 0;
	if (m->n == TAR_MAX_EXTENTS)
		return err_set(e, -E2BIG, "a sparse file in more than %u pieces", TAR_MAX_EXTENTS);
	if (m->n == m->room) {
		size_t room = m->room ? m->room * 2 : 16;
		struct tar_extent *extents = reallocarray(m->extents, room, sizeof(*extents));

		if (!extents)
			return -ENOMEM;
		m->extents = extents;
		m->room = room;
	}
	m->extents[m->n++] = (struct tar_extent){offset, size};
	return 0;
}

int tar_map_check(const struct tar_map *m, uint64_t stored, uint64_t size, struct err *e)
{
	uint64_t sum = 0, end = 0;

	for (size_t i = 0; i < m->n; i++) {
		end = m->extents[i].offset + m->extents[i].size; /* both below 2^63 */
		sum += m->extents[i].size;			 /* they do not overlap: below 2^64 */
	}
	return sum == stored && end <= size ? 0 : malformed(e);
}

/* One cell; *last when the map ends before it. */
static int add_cell(struct tar_map *m, const uint8_t *cell, bool *last, struct err *e)
{
	int64_t offset, size;

	*last = !cell[0];
	if (*last)
		return 0;
	if (tar_number(cell, NUMBER, &offset) < 0 || tar_number(cell + NUMBER, NUMBER, &size) < 0 ||
	    offset < 0 || size < 0)
		return malformed(e);
	return tar_map_add(m, (uint64_t)offset, (uint64_t)size, e);
}

static int add_cells(struct tar_map *m, const uint8_t *cells, int n, struct err *e)
{
	bool last = false;
	int r = 0;

	for (int i = 0; i < n && r == 0 && !last; i++)
		r = add_cell(m, cells + (ptrdiff_t)i * CELL, &last, e);
	return r;
}

int tar_map_gnu(struct tar_map *m, const uint8_t *header, tar_pull_fn *pull, void *arg, uint64_t *size,
		struct err *e)
{
	uint8_t block[TAR_BLOCK];
	bool more = header[GNU_MORE];
	int64_t v;
	int r;

	if (tar_number(header + GNU_SIZE, NUMBER, &v) < 0 || v < 0)
		return malformed(e);
	*size = (uint64_t)v;
	r = add_cells(m, header + GNU_MAP, GNU_MAP_CELLS, e);
	while (r == 0 && more) {
		size_t got;

		r = pull(arg, block, sizeof(block), &got, e);
		if (r == 0 && got < sizeof(block))
			r = malformed(e);
		if (r == 0)
			r = add_cells(m, block + NEXT_MAP, NEXT_MAP_CELLS, e);
		more = block[NEXT_MORE];
	}
	return r;
}

/* Numbers that come one character at a time, each ended by `end`. */
struct numbers {
	uint64_t value;
	bool digits;
};

/* 1: a number is complete, in ->value until the next call; 0: more is needed. */
static int take(struct numbers *n, uint8_t c, uint8_t end)
{
	if (c == end) {
		bool complete = n->digits;

		n->digits = false;
		return complete ? 1 : -EUCLEAN;
	}
	if (c < '0' || c > '9')
		return -EUCLEAN;
	if (!n->digits)
		n->value = 0;
	n->digits = true;
	if (__builtin_mul_overflow(n->value, 10, &n->value) ||
	    __builtin_add_overflow(n->value, (uint64_t)(c - '0'), &n->value))
		return -EUCLEAN;
	return 0;
}

int tar_map_text(struct tar_map *m, const uint8_t *text, size_t n, struct err *e)
{
	struct numbers numbers = {0};
	uint64_t offset = 0;
	bool odd = false;

	for (size_t i = 0; i <= n; i++) {
		int r = take(&numbers, i < n ? text[i] : ',', ',');

		if (r < 0)
			return malformed(e);
		if (r == 0)
			continue;
		if (odd) {
			r = tar_map_add(m, offset, numbers.value, e);
			if (r < 0)
				return r;
		}
		offset = numbers.value;
		odd = !odd;
	}
	return odd ? malformed(e) : 0;
}

int tar_map_1_0(struct tar_map *m, tar_pull_fn *pull, void *arg, uint64_t stored, uint64_t *used,
		struct err *e)
{
	struct numbers numbers = {0};
	uint64_t n_numbers = 0, expected = 1, offset = 0;
	uint8_t block[TAR_BLOCK];

	for (*used = 0; n_numbers < expected; *used += TAR_BLOCK) {
		size_t got;
		int r = *used + TAR_BLOCK > stored ? malformed(e) : pull(arg, block, sizeof(block), &got, e);

		if (r < 0)
			return r;
		if (got < sizeof(block))
			return malformed(e);
		for (size_t i = 0; i < sizeof(block) && n_numbers < expected; i++) {
			r = take(&numbers, block[i], '\n');
			if (r < 0)
				return malformed(e);
			if (r == 0)
				continue;
			if (n_numbers == 0 && numbers.value > TAR_MAX_EXTENTS)
				return err_set(e, -E2BIG, "a sparse file in more than %u pieces",
					       TAR_MAX_EXTENTS);
			if (n_numbers == 0)
				expected = 1 + 2 * numbers.value;
			else if (n_numbers % 2 == 0)
				r = tar_map_add(m, offset, numbers.value, e);
			if (r < 0)
				return r;
			offset = numbers.value;
			n_numbers++;
		}
	}
	return 0;
}
