/* SPDX-License-Identifier: Apache-2.0
 * The start-up list: what the publisher says a workload reads first. All of it is claimed before the first
 * read and then loaded in the list's order, in requests that depend on the image alone, as large as they may
 * be: between two of them the host has nothing to do. A read of what is listed waits for the list's own
 * request and never makes one, so the host sees the same requests whichever of the listed chunks a workload
 * reads, and in whatever order. */
#include "guestfs/image_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct startup {
	struct image *i;
	pthread_t thread;
	bool started;
	atomic_bool stop, loading; /* hints, no partner: what is loaded is handed over by the cache's lock */
	struct extent *extents;	   /* what is loaded, in the list's order; with keys */
	struct chunk **chunks;	   /* the same, claimed until they are loaded */
	uint32_t *numbers;	   /* the same, sorted */
	size_t n;
};

/* An entry of the list, and where it stands there. */
struct wanted {
	uint32_t chunk, position;
};

static int by_chunk(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static const struct wanted *find_wanted(const struct wanted *list, size_t n, uint32_t chunk)
{
	struct wanted key = {.chunk = chunk};

	return bsearch(&key, list, n, sizeof(*list), by_chunk);
}

static int read_list(struct image *i, struct wanted *list, size_t n, struct err *e)
{
	const struct root *root = map_root(i->map);
	cleanup_buf struct buf raw;
	int r;

	buf_init(&raw, root->startup_size);
	r = image_read_object(i, root_startup(root), root->n_startup_chunks, &raw, e);
	for (size_t k = 0; r == 0 && k < n; k++) {
		list[k] = (struct wanted){get_le32(raw.data + 4 * k), (uint32_t)k};
		if (list[k].chunk == 0 || list[k].chunk >= i->descriptor.n_chunks)
			r = err_set(e, -EUCLEAN, "chunk %u of %u", list[k].chunk, i->descriptor.n_chunks);
	}
	if (r == 0)
		qsort(list, n, sizeof(*list), by_chunk);
	return r;
}

/* Fill `found[position]` for every entry that map page `page` knows; the page is in memory then. */
static int find_in_page(struct image *i, uint32_t page, const struct wanted *list, size_t n,
			struct extent *found, struct err *e)
{
	const struct root *root = map_root(i->map);
	uint32_t block = root->extents[page].first_block;
	uint32_t end = page + 1 < root->n_map_pages ? root->extents[page + 1].first_block
						    : (uint32_t)(i->descriptor.image_size / BLOCK_SIZE);
	struct extent x[LOAD_MAX_CHUNKS];
	int r = 0;

	while (block < end && r == 0) {
		size_t count;

		r = image_extents(i, block, end, NULL, x, &count, e);
		for (size_t k = 0; r == 0 && k < count; k++) {
			const struct wanted *w = find_wanted(list, n, x[k].chunk);

			if (w)
				found[w->position] = x[k];
			block = x[k].first_block + x[k].plain_size / BLOCK_SIZE;
		}
	}
	explicit_bzero(x, sizeof(x));
	return r;
}

/* The list names the map pages too that it needs; one that names none needs all. */
static int find_extents(struct image *i, const struct wanted *list, size_t n, struct extent *found,
			struct err *e)
{
	const struct root *root = map_root(i->map);
	bool named = false;
	int r = 0;

	for (uint32_t p = 0; p < root->n_map_pages && !named; p++)
		named = find_wanted(list, n, root->extents[p].chunk);
	for (uint32_t p = 0; p < root->n_map_pages && r == 0; p++)
		if (!named || find_wanted(list, n, root->extents[p].chunk))
			r = find_in_page(i, p, list, n, found, e);
	return r;
}

/* Claim what was found, in its order, as long as the cache has room for it and a little more. */
static int claim(struct startup *s, size_t n, struct err *e)
{
	size_t left = s->i->cache_bytes - s->i->cache_bytes / 8;
	int result = 0;

	for (size_t k = 0; k < n; k++) {
		struct extent *x = &s->extents[k];
		int r;

		if (x->plain_size == 0)
			continue; /* named twice, or no part of the image's address space */
		if (x->plain_size > left) {
			result = STARTUP_CUT;
			break;
		}
		r = plain_cache_claim(s->i->cache, x, &s->chunks[s->n]);
		if (r < 0)
			return err_errno(e, r, "chunk %u", x->chunk);
		if (r != CHUNK_LOAD) { /* somebody was faster */
			plain_cache_release(s->i->cache, s->chunks[s->n]);
			continue;
		}
		left -= x->plain_size;
		s->numbers[s->n] = x->chunk;
		s->extents[s->n++] = *x;
	}
	explicit_bzero(s->extents + s->n, (n - s->n) * sizeof(*s->extents));
	qsort(s->numbers, s->n, sizeof(*s->numbers), by_number);
	return result;
}

/* Those from `first` on are not loaded: who waits for them is told why. */
static void abandon(struct startup *s, size_t first, int why)
{
	for (size_t k = first; k < s->n; k++)
		plain_cache_done(s->i->cache, s->chunks[k], why);
	image_release(s->i, s->chunks + first, s->n - first);
}

/* A request that fails as a whole has waited for its deadline: those who wait for later ones waited too. */
static void *load_thread(void *arg)
{
	struct startup *s = arg;
	size_t k = 0;
	int r = 0;

	while (k < s->n && r == 0) {
		size_t count = s->n - k < REQUEST_MAX_CHUNKS ? s->n - k : REQUEST_MAX_CHUNKS;

		r = image_load(s->i, s->extents + k, s->chunks + k, count);
		k += count;
		if (r == 0 && atomic_load_explicit(&s->stop, memory_order_relaxed))
			r = -ESHUTDOWN;
	}
	abandon(s, k, r);
	explicit_bzero(s->extents, s->n * sizeof(*s->extents));
	atomic_store_explicit(&s->loading, false, memory_order_relaxed);
	return NULL;
}

static int prepare(struct startup *s, size_t n, struct err *e)
{
	cleanup_free struct wanted *list = calloc(n, sizeof(*list));
	int r;

	s->extents = calloc(n, sizeof(*s->extents));
	s->chunks = calloc(n, sizeof(struct chunk *));
	s->numbers = calloc(n, sizeof(*s->numbers));
	if (!list || !s->extents || !s->chunks || !s->numbers)
		return err_set(e, -ENOMEM, "out of memory");
	r = read_list(s->i, list, n, e);
	if (r == 0)
		r = find_extents(s->i, list, n, s->extents, e);
	if (r == 0)
		r = claim(s, n, e);
	if (r >= 0) {
		int error;

		atomic_store_explicit(&s->loading, true, memory_order_relaxed);
		error = pthread_create(&s->thread, NULL, load_thread, s);
		s->started = error == 0;
		if (error)
			r = err_errno(e, -error, "starting a thread");
	}
	if (r < 0) {
		abandon(s, 0, r);
		explicit_bzero(s->extents, n * sizeof(*s->extents));
	}
	return r;
}

int image_prefetch_startup(struct image *i, struct err *e)
{
	size_t n = map_root(i->map)->startup_size / 4;
	struct startup *s;
	int r;

	if (n == 0)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->i = i;
	r = prepare(s, n, e);
	if (r < 0) {
		startup_stop(s);
		return err_prefix(e, r, "start-up list");
	}
	i->startup = s;
	return r;
}

bool startup_hides(const struct startup *s, const struct extent *x, size_t n)
{
	if (!s)
		return false;
	if (atomic_load_explicit(&s->loading, memory_order_relaxed))
		return true;
	for (size_t k = 0; k < n; k++)
		if (!bsearch(&x[k].chunk, s->numbers, s->n, sizeof(*s->numbers), by_number))
			return false;
	return true;
}

void startup_stop(struct startup *s)
{
	if (!s)
		return;
	atomic_store_explicit(&s->stop, true, memory_order_relaxed);
	if (s->started)
		pthread_join(s->thread, NULL);
	free(s->extents);
	free(s->chunks);
	free(s->numbers);
	free(s);
}
