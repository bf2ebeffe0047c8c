/* SPDX-License-Identifier: Apache-2.0
 * Two binary searches. Decoded pages are kept under a cap; the one used longest ago goes first. */
#include "guestfs/map.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAP_CACHE_BYTES (16u << 20)

static_assert(MAP_CACHE_BYTES >= MAX_MAP_PAGE_EXTENTS * sizeof(struct extent), "one page may always stay");

struct page {
	struct extent *extents; /* owned; NULL: not in memory */
	size_t n;
	uint64_t used; /* when: a count of searches */
};

struct map {
	const struct descriptor *d;
	struct root root;
	pthread_mutex_t lock; /* guards what follows */
	struct page *pages;   /* root.n_map_pages */
	size_t bytes;
	uint64_t clock;
};

int map_new(struct map **out, struct root *root, const struct descriptor *d)
{
	struct map *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->pages = calloc(root->n_map_pages, sizeof(*m->pages));
	if (!m->pages) {
		free(m);
		return -ENOMEM;
	}
	m->d = d;
	m->root = *root;
	*root = (struct root){0};
	pthread_mutex_init(&m->lock, NULL);
	*out = m;
	return 0;
}

static void page_drop(struct map *m, struct page *p)
{
	size_t size = p->n * sizeof(*p->extents);

	if (!p->extents)
		return;
	explicit_bzero(p->extents, size);
	free(p->extents);
	p->extents = NULL;
	m->bytes -= size;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->root.n_map_pages; i++)
		page_drop(m, &m->pages[i]);
	free(m->pages);
	root_deinit(&m->root);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

const struct root *map_root(const struct map *m)
{
	return &m->root;
}

/* The last of n ascending extents that starts at or before `block`; the first one starts there or before. */
static size_t search(const struct extent *x, size_t n, uint32_t block)
{
	size_t low = 0, high = n;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (x[middle].first_block <= block)
			low = middle;
		else
			high = middle;
	}
	return low;
}

int map_find(struct map *m, uint32_t block, struct extent *out, uint32_t *page)
{
	uint32_t number = (uint32_t)search(m->root.extents, m->root.n_map_pages, block);
	struct page *p = &m->pages[number];
	int r = MAP_PAGE_MISSING;

	pthread_mutex_lock(&m->lock);
	if (p->extents) {
		p->used = ++m->clock;
		*out = p->extents[search(p->extents, p->n, block)];
		r = 0;
	}
	pthread_mutex_unlock(&m->lock);
	*page = number;
	return r;
}

static void make_room(struct map *m, const struct page *keep)
{
	while (m->bytes > MAP_CACHE_BYTES) {
		struct page *oldest = NULL;

		for (uint32_t i = 0; i < m->root.n_map_pages; i++) {
			struct page *p = &m->pages[i];

			if (p->extents && p != keep && (!oldest || p->used < oldest->used))
				oldest = p;
		}
		page_drop(m, oldest); /* one page alone is not over the limit */
	}
}

int map_page_put(struct map *m, uint32_t page, const uint8_t *plain, size_t size, uint32_t block,
		 struct extent *out, struct err *e)
{
	const struct extent *pages = m->root.extents;
	uint32_t end = page + 1 < m->root.n_map_pages ? pages[page + 1].first_block
						      : (uint32_t)(m->d->image_size / BLOCK_SIZE);
	struct page *p = &m->pages[page];
	struct extent *extents;
	size_t n;
	int r = map_page_decode(&extents, &n, plain, size, pages[page].first_block, end, m->d, e);

	if (r < 0)
		return err_prefix(e, r, "map page %u", page);
	/* keys do not go to swap, also where not all memory may be locked (crypto/process.h): a few pages may
	 * be */
	(void)mlock(extents, n * sizeof(*extents));
	pthread_mutex_lock(&m->lock);
	*out = extents[search(extents, n, block)];
	page_drop(m, p); /* another thread may have been faster */
	p->extents = extents;
	p->n = n;
	p->used = ++m->clock;
	m->bytes += n * sizeof(*extents);
	make_room(m, p);
	pthread_mutex_unlock(&m->lock);
	return 0;
}
