/* SPDX-License-Identifier: Apache-2.0
 * Next fit over a bitmap: a few thousand bits, of which 64 are looked at at once. */
#include "guestfs/page_arena.h"

#include <errno.h>
#include <stdlib.h>

#define WORD 64u

int page_arena_init(struct page_arena *a, size_t bytes)
{
	size_t n_pages = bytes / ARENA_PAGE;

	*a = (struct page_arena){.used = calloc(n_pages / WORD + 1, sizeof(*a->used))};
	if (a->used && n_pages > 0)
		a->base = aligned_alloc(ARENA_PAGE, n_pages * ARENA_PAGE);
	if (!a->used || (n_pages > 0 && !a->base)) {
		free(a->used);
		return -ENOMEM;
	}
	a->n_pages = n_pages;
	return 0;
}

void page_arena_deinit(struct page_arena *a)
{
	free(a->base);
	free(a->used);
}

static bool is_used(const struct page_arena *a, size_t page)
{
	return a->used[page / WORD] >> page % WORD & 1;
}

static void mark(struct page_arena *a, size_t page, size_t n, bool used)
{
	for (; n > 0; page++, n--) {
		uint64_t bit = UINT64_C(1) << page % WORD;

		a->used[page / WORD] = used ? a->used[page / WORD] | bit : a->used[page / WORD] & ~bit;
	}
}

/* The first run of n free pages that begins in [from, to); n_pages when there is none. */
static size_t find(const struct page_arena *a, size_t from, size_t to, size_t n)
{
	size_t run = 0, page = from;

	while (page < a->n_pages && page - run < to) {
		if (page % WORD == 0 && a->used[page / WORD] == UINT64_MAX) {
			run = 0;
			page += WORD;
			continue;
		}
		run = is_used(a, page) ? 0 : run + 1;
		page++;
		if (run == n)
			return page - n;
	}
	return a->n_pages;
}

void *page_arena_take(struct page_arena *a, size_t size)
{
	size_t n = (size + ARENA_PAGE - 1) / ARENA_PAGE, page;

	if (n == 0 || n > a->n_pages)
		return NULL;
	page = find(a, a->next, a->n_pages, n);
	if (page == a->n_pages)
		page = find(a, 0, a->next, n);
	if (page == a->n_pages)
		return NULL;
	mark(a, page, n, true);
	a->next = page + n < a->n_pages ? page + n : 0;
	return a->base + page * ARENA_PAGE;
}

void page_arena_give(struct page_arena *a, void *p, size_t size)
{
	mark(a, (size_t)((uint8_t *)p - a->base) / ARENA_PAGE, (size + ARENA_PAGE - 1) / ARENA_PAGE, false);
}

bool page_arena_owns(const struct page_arena *a, const void *p)
{
	return (uintptr_t)p >= (uintptr_t)a->base &&
	       (uintptr_t)p < (uintptr_t)a->base + a->n_pages * ARENA_PAGE;
}
