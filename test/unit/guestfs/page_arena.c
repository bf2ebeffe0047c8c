/* SPDX-License-Identifier: Apache-2.0
 * Runs of pages: no two overlap, what is given back is found again, and there is never more than there is. */
#include "guestfs/page_arena.h"

#include <criterion/criterion.h>
#include <string.h>

#define PAGES 150u /* no multiple of a word's bits */

static struct page_arena a;

static void set_up(void)
{
	cr_assert_eq(page_arena_init(&a, PAGES * ARENA_PAGE + 100), 0);
}

static void tear_down(void)
{
	page_arena_deinit(&a);
}

TestSuite(page_arena, .init = set_up, .fini = tear_down, .timeout = 60);

Test(page_arena, gives_all_its_pages_and_no_more)
{
	uint8_t *p[PAGES];

	for (unsigned int k = 0; k < PAGES; k++) {
		p[k] = page_arena_take(&a, k % 2 ? ARENA_PAGE : 1);
		cr_assert_not_null(p[k]);
		cr_assert(page_arena_owns(&a, p[k]));
		memset(p[k], (int)k, ARENA_PAGE);
	}
	cr_assert_null(page_arena_take(&a, 1));
	for (unsigned int k = 0; k < PAGES; k++) {
		cr_assert_eq(p[k][0], (uint8_t)k);
		cr_assert_eq(p[k][ARENA_PAGE - 1], (uint8_t)k);
	}
	page_arena_give(&a, p[77], 1);
	cr_assert_null(page_arena_take(&a, ARENA_PAGE + 1));
	cr_assert_eq(page_arena_take(&a, ARENA_PAGE), p[77]);
}

Test(page_arena, a_run_is_made_of_neighbours)
{
	uint8_t *p = page_arena_take(&a, 60 * ARENA_PAGE), *q = page_arena_take(&a, 60 * ARENA_PAGE), *r;

	cr_assert_eq(q, p + 60 * ARENA_PAGE);
	cr_assert_null(page_arena_take(&a, 31 * ARENA_PAGE));
	page_arena_give(&a, p, 60 * ARENA_PAGE);
	cr_assert_null(page_arena_take(&a, 61 * ARENA_PAGE), "there are 90 free pages, but not side by side");
	r = page_arena_take(&a, 30 * ARENA_PAGE);
	cr_assert_eq(r, q + 60 * ARENA_PAGE);
	page_arena_give(&a, q, 60 * ARENA_PAGE);
	cr_assert_eq(page_arena_take(&a, 120 * ARENA_PAGE), p);
}

Test(page_arena, refuses_what_can_never_be)
{
	struct page_arena none;

	cr_assert_null(page_arena_take(&a, 0));
	cr_assert_null(page_arena_take(&a, (PAGES + 1) * ARENA_PAGE));
	cr_assert_not(page_arena_owns(&a, &none));
	cr_assert_eq(page_arena_init(&none, ARENA_PAGE - 1), 0);
	cr_assert_null(page_arena_take(&none, 1));
	cr_assert_not(page_arena_owns(&none, &none));
	page_arena_deinit(&none);
}

/* Random takes and gives, against a map of bytes. */
Test(page_arena, no_two_runs_overlap)
{
	struct {
		uint8_t *p;
		size_t n;
	} run[64] = {0};
	uint32_t seed = 1;

	for (unsigned int step = 0; step < 200000; step++) {
		unsigned int k = (seed = seed * 1103515245 + 12345) >> 16 & 63;

		if (run[k].p) {
			for (size_t j = 0; j < run[k].n; j++)
				cr_assert_eq(run[k].p[j * ARENA_PAGE], (uint8_t)(k + 1));
			page_arena_give(&a, run[k].p, run[k].n * ARENA_PAGE);
			run[k].p = NULL;
			continue;
		}
		run[k].n = 1 + (seed >> 8 & 7);
		run[k].p = page_arena_take(&a, run[k].n * ARENA_PAGE);
		for (size_t j = 0; run[k].p && j < run[k].n; j++)
			run[k].p[j * ARENA_PAGE] = (uint8_t)(k + 1);
	}
}
