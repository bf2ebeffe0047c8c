/* SPDX-License-Identifier: Apache-2.0
 * The map: two searches, and pages that come and go. */
#include "guestfs/map.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGES 30u
#define EXTENTS MAX_MAP_PAGE_EXTENTS /* of a page, one block each: as large as a page can be */

static struct descriptor d = {.n_chunks = UINT32_MAX >> 4, .max_chunk_size = MAX_CHUNK_SIZE};
static struct map *map;

static void set_up(void)
{
	struct root root = {.n_map_pages = PAGES, .n_config_chunks = 1};

	d.image_size = (uint64_t)PAGES * EXTENTS * BLOCK_SIZE;
	root.extents = calloc(PAGES + 1, sizeof(*root.extents));
	cr_assert(root.extents);
	for (uint32_t k = 0; k < PAGES; k++)
		root.extents[k] = (struct extent){
			.first_block = k * EXTENTS, .chunk = k + 1, .plain_size = EXTENTS * EXTENT_SIZE};
	cr_assert_eq(map_new(&map, &root, &d), 0);
	cr_assert_null(root.extents);
}

static void tear_down(void)
{
	map_free(map);
}

TestSuite(map, .init = set_up, .fini = tear_down, .timeout = 60);

static uint8_t *make_page(uint32_t page, uint32_t first_chunk, size_t *size)
{
	struct buf b;

	buf_init(&b, MAX_CHUNK_SIZE);
	for (uint32_t k = 0; k < EXTENTS; k++) {
		struct extent x = {.first_block = page * EXTENTS + k,
				   .chunk = first_chunk + k,
				   .plain_size = BLOCK_SIZE};

		x.key[0] = (uint8_t)k;
		extent_encode(&x, &b);
	}
	cr_assert(!buf_failed(&b));
	*size = b.size;
	return b.data;
}

static int put(uint32_t page, uint32_t first_chunk)
{
	size_t size;
	uint8_t *p = make_page(page, first_chunk, &size);
	uint32_t block = page * EXTENTS + page % EXTENTS;
	struct extent x;
	int r = map_page_put(map, page, p, size, block, &x, NULL);

	cr_assert_eq(x.first_block, block);
	cr_assert_eq(x.chunk, first_chunk + page % EXTENTS);
	free(p);
	return r;
}

Test(map, says_which_page_it_lacks_and_finds_it_then)
{
	struct extent x;
	uint32_t page = 99;

	cr_assert_eq(map_find(map, 3 * EXTENTS - 1, &x, &page), MAP_PAGE_MISSING);
	cr_assert_eq(page, 2);
	cr_assert_eq(put(2, 5000), 0);
	for (uint32_t k = 0; k < EXTENTS; k++) {
		cr_assert_eq(map_find(map, 2 * EXTENTS + k, &x, &page), 0);
		cr_assert_eq(x.first_block, 2 * EXTENTS + k);
		cr_assert_eq(x.chunk, 5000 + k);
		cr_assert_eq(x.key[0], (uint8_t)k);
	}
	cr_assert_eq(map_find(map, 3 * EXTENTS, &x, &page), MAP_PAGE_MISSING);
	cr_assert_eq(page, 3);
	cr_assert_eq(map_find(map, 0, &x, &page), MAP_PAGE_MISSING);
	cr_assert_eq(page, 0);
	cr_assert_eq(map_find(map, PAGES * EXTENTS - 1, &x, &page), MAP_PAGE_MISSING);
	cr_assert_eq(page, PAGES - 1);
}

Test(map, refuses_a_page_of_another_place)
{
	struct extent x;
	uint32_t page;
	size_t size;
	uint8_t *p = make_page(4, 1, &size);

	cr_assert_eq(map_page_put(map, 5, p, size, 5 * EXTENTS, &x, NULL), -EUCLEAN);
	cr_assert_eq(map_page_put(map, 4, p, size - EXTENT_SIZE, 4 * EXTENTS, &x, NULL), -EUCLEAN);
	cr_assert_eq(map_find(map, 4 * EXTENTS, &x, &page), MAP_PAGE_MISSING);
	free(p);
}

Test(map, keeps_the_pages_used_last)
{
	struct extent x;
	uint32_t page, there = 0;

	for (uint32_t k = 0; k < PAGES; k++) {
		cr_assert_eq(put(k, 1), 0);
		/* page 0 is asked for all the time */
		cr_assert_eq(map_find(map, 0, &x, &page), 0);
	}
	for (uint32_t k = 0; k < PAGES; k++)
		there += map_find(map, k * EXTENTS, &x, &page) == 0;
	cr_assert(there > 5 && there < 20, "%u", there);
	cr_assert_eq(map_find(map, (PAGES - 1) * EXTENTS, &x, &page), 0);
	cr_assert_eq(map_find(map, EXTENTS, &x, &page), MAP_PAGE_MISSING);
	/* the same page twice is one page */
	cr_assert_eq(put(PAGES - 1, 70), 0);
	cr_assert_eq(map_find(map, (PAGES - 1) * EXTENTS + 1, &x, &page), 0);
	cr_assert_eq(x.chunk, 71);
}
