/* SPDX-License-Identifier: Apache-2.0
 * A fixed number of bytes of private memory, handed out in runs of whole pages: what is kept in it can never
 * be more, however it comes and goes, and what was given back is used again as it is. The caller locks. */
#ifndef COCOON_GUESTFS_PAGE_ARENA_H
#define COCOON_GUESTFS_PAGE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_PAGE 4096u

struct page_arena {
	uint8_t *base; /* n_pages of ARENA_PAGE */
	size_t n_pages;
	uint64_t *used; /* a bit for each page */
	size_t next;	/* where the search begins */
};

/* At most `bytes`: whole pages of it, also none. 0 or -ENOMEM. Nothing is resident before it is written to.
 */
int page_arena_init(struct page_arena *a, size_t bytes);
void page_arena_deinit(struct page_arena *a); /* all was given back, and wiped by then */

/* n bytes, or NULL when no run of free pages is as long. */
void *page_arena_take(struct page_arena *a, size_t n);
void page_arena_give(struct page_arena *a, void *p, size_t n);
bool page_arena_owns(const struct page_arena *a, const void *p);

#endif
