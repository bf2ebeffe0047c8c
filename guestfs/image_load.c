/* SPDX-License-Identifier: Apache-2.0
 * Chunks on their way into memory: claimed, looked up in the table, fetched together, each opened as it
 * arrives. A thread first loads all that it has claimed and only then waits for others, so that no two wait
 * for each other. */
#include "guestfs/image_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One request to the source. */
struct batch {
	struct image *i;
	size_t n;
	struct chunk_place places[REQUEST_MAX_CHUNKS];
	const struct extent *extents[REQUEST_MAX_CHUNKS];
	struct chunk *chunks[REQUEST_MAX_CHUNKS];
	pthread_mutex_t lock; /* guards `err`: arrivals come from any thread */
	struct err *err;      /* of the first failure; may be NULL */
	bool failed;
};

static void batch_failed(struct batch *b, uint32_t number, int r, const struct err *words)
{
	pthread_mutex_lock(&b->lock);
	if (!b->failed)
		(void)err_set(b->err, r, "chunk %u: %s", number, words->text);
	b->failed = true;
	pthread_mutex_unlock(&b->lock);
}

/* The chunk is there for everyone, or fails for everyone. */
static void batch_done(struct batch *b, size_t k, int r, const struct err *words)
{
	if (r < 0) {
		atomic_fetch_add_explicit(&b->i->failures, 1, memory_order_relaxed);
		batch_failed(b, b->places[k].number, r, words);
	} else {
		atomic_fetch_add_explicit(&b->i->chunks, 1, memory_order_relaxed);
	}
	plain_cache_done(b->i->cache, b->chunks[k], r);
}

static void batch_arrival(void *arg, size_t k, const uint8_t *stored, int error)
{
	struct batch *b = arg;
	const struct extent *x = b->extents[k];
	const struct chunk_entry *entry = &b->places[k].entry;
	cleanup_secret struct secret key;
	struct err words = {""};
	struct opener *o;
	uint32_t size;
	int r;

	if (!stored) {
		(void)err_errno(&words, error, "the host did not give it");
		batch_done(b, k, error, &words);
		return;
	}
	atomic_fetch_add_explicit(&b->i->stored_bytes, entry->stored_size, memory_order_relaxed);
	memcpy(key.bytes, x->key, sizeof(key.bytes));
	o = opener_take(&b->i->openers);
	r = chunk_open(o, b->chunks[k]->plain, &size,
		       &(struct chunk_expect){entry, &key, x->plain_size, b->i->descriptor.max_chunk_size},
		       stored, entry->stored_size, &words);
	opener_return(&b->i->openers, o);
	batch_done(b, k, r, &words);
}

/* Give one more chunk to the batch, if the table knows it. */
static int batch_add(struct batch *b, const struct extent *x, struct chunk *chunk)
{
	struct err words = {""};
	size_t k = b->n;
	int r;

	b->places[k].number = x->chunk;
	b->extents[k] = x;
	b->chunks[k] = chunk;
	r = table_entry(b->i->table, x->chunk, &b->places[k].entry, &words);
	if (r < 0)
		batch_done(b, k, r, &words);
	else
		b->n++;
	return r;
}

/* What the request as a whole came to. */
static int batch_load(struct batch *b, bool ahead)
{
	struct source *s = b->i->source;
	struct err words = {""};
	int r;

	if (b->n == 0)
		return 0;
	r = s->ops->read_chunks(s, b->places, b->n, ahead, batch_arrival, b, &words);
	for (size_t k = 0; r < 0 && k < b->n; k++)
		batch_done(b, k, r, &words);
	return r;
}

static void batch_init(struct batch *b, struct image *i, struct err *e)
{
	b->i = i;
	b->n = 0;
	b->err = e;
	b->failed = false;
	pthread_mutex_init(&b->lock, NULL);
}

static void batch_deinit(struct batch *b)
{
	pthread_mutex_destroy(&b->lock);
}

void image_release(struct image *i, struct chunk **chunks, size_t n)
{
	for (size_t k = 0; k < n; k++)
		plain_cache_release(i->cache, chunks[k]);
}

/* All n are claimed and loaded by somebody: 0 when they are ready. */
static int wait_all(struct image *i, struct chunk **chunks, size_t n, bool told, struct err *e)
{
	int result = 0;

	for (size_t k = 0; k < n; k++) {
		int r = plain_cache_wait(i->cache, chunks[k]);

		if (r < 0 && result == 0)
			result = told ? r : err_errno(e, r, "chunk %u", chunks[k]->number);
	}
	return result;
}

int image_claim(struct image *i, const struct extent *x, size_t n, const struct deadline *deadline,
		struct chunk **out, struct err *e)
{
	struct deadline own = deadline_after(i->timeout_ms);
	size_t reserved, claimed = 0;
	struct batch b;
	int r = plain_cache_reserve(i->cache, x, n, deadline ? deadline : &own, &reserved);

	if (r < 0)
		return err_set(e, r, "other reads that wait for the host hold the memory for this one");
	batch_init(&b, i, e);
	/* none is of use without all: a table that the host does not give is waited for once */
	while (r >= 0 && claimed < n) {
		r = plain_cache_claim(i->cache, &x[claimed], &out[claimed]);
		if (r < 0) {
			r = err_errno(e, r, "chunk %u under another key or size", x[claimed].chunk);
			break;
		}
		if (r == CHUNK_LOAD) {
			plain_cache_charge(i->cache, out[claimed], &reserved);
			r = batch_add(&b, &x[claimed], out[claimed]);
		}
		claimed++;
	}
	plain_cache_unreserve(i->cache, reserved);
	(void)batch_load(&b, false);
	if (r >= 0)
		r = wait_all(i, out, n, b.failed, e);
	if (r < 0)
		image_release(i, out, claimed);
	batch_deinit(&b);
	return r;
}

void image_warm(struct image *i, const struct extent *x, size_t n)
{
	struct chunk *mine[LOAD_MAX_CHUNKS];
	size_t reserved, n_mine = 0;
	struct batch b;
	int r = plain_cache_reserve(i->cache, x, n, NULL, &reserved);

	if (r < 0)
		return; /* those who need something now need the memory too */
	batch_init(&b, i, NULL);
	for (size_t k = 0; r >= 0 && k < n; k++) {
		struct chunk *c;

		r = plain_cache_claim(i->cache, &x[k], &c);
		if (r == CHUNK_LOAD) {
			mine[n_mine++] = c;
			plain_cache_charge(i->cache, c, &reserved);
			r = batch_add(&b, &x[k], c);
		} else if (r >= 0) {
			plain_cache_release(i->cache, c);
		}
	}
	plain_cache_unreserve(i->cache, reserved);
	(void)batch_load(&b, true);
	image_release(i, mine, n_mine);
	batch_deinit(&b);
}

int image_load(struct image *i, const struct extent *x, struct chunk **chunks, size_t n)
{
	struct batch b;
	int r;

	batch_init(&b, i, NULL);
	for (size_t k = 0; k < n; k++)
		(void)batch_add(&b, &x[k], chunks[k]);
	r = batch_load(&b, false);
	image_release(i, chunks, n);
	batch_deinit(&b);
	return r;
}

/* Fetch map page `page`, and give the extent in it that covers `block`. */
static int load_page(struct image *i, uint32_t page, uint32_t block, const struct deadline *deadline,
		     struct extent *out, struct err *e)
{
	const struct extent *x = &map_root(i->map)->extents[page];
	struct chunk *c;
	int r = image_claim(i, x, 1, deadline, &c, e);

	if (r < 0)
		return err_prefix(e, r, "map page %u", page);
	r = map_page_put(i->map, page, c->plain, c->size, block, out, e);
	image_release(i, &c, 1);
	return r;
}

static int find_extent(struct image *i, uint32_t block, const struct deadline *deadline, struct extent *out,
		       struct err *e)
{
	uint32_t page;

	return map_find(i->map, block, out, &page) == MAP_PAGE_MISSING
		       ? load_page(i, page, block, deadline, out, e)
		       : 0;
}

int image_extents(struct image *i, uint32_t block, uint32_t end, const struct deadline *deadline,
		  struct extent out[static LOAD_MAX_CHUNKS], size_t *n, struct err *e)
{
	size_t bytes = 0, count = 0;

	while (block < end && count < LOAD_MAX_CHUNKS) {
		int r = find_extent(i, block, deadline, &out[count], e);

		if (r < 0)
			return r;
		if (count > 0 && bytes + out[count].plain_size > i->load_max_bytes)
			break;
		bytes += out[count].plain_size;
		block = out[count].first_block + out[count].plain_size / BLOCK_SIZE;
		count++;
	}
	*n = count;
	return 0;
}

int image_read_object(struct image *i, const struct extent *x, size_t n, struct buf *to, struct err *e)
{
	while (n > 0) {
		struct chunk *c;
		int r = image_claim(i, x, 1, NULL, &c, e);

		if (r < 0)
			return r;
		buf_put(to, c->plain, c->size);
		image_release(i, &c, 1);
		x++;
		n--;
	}
	return buf_failed(to) ? err_set(e, -ENOMEM, "out of memory") : 0;
}

struct root_arrival {
	struct image *i;
	const struct chunk_entry *entry;
	const struct secret *key;
	uint8_t *plain;
	uint32_t size;
	int result;
	struct err *e;
};

static void root_arrival(void *arg, size_t k, const uint8_t *stored, int error)
{
	struct root_arrival *a = arg;
	struct opener *o;

	(void)k;
	if (!stored) {
		a->result = err_errno(a->e, error, "the host did not give it");
		return;
	}
	atomic_fetch_add_explicit(&a->i->stored_bytes, a->entry->stored_size, memory_order_relaxed);
	o = opener_take(&a->i->openers);
	a->result = chunk_open(o, a->plain, &a->size,
			       &(struct chunk_expect){a->entry, a->key, 0, a->i->descriptor.max_chunk_size},
			       stored, a->entry->stored_size, a->e);
	opener_return(&a->i->openers, o);
}

int image_load_root(struct image *i, const struct secret *key, uint8_t **plain, uint32_t *size, struct err *e)
{
	struct chunk_place place = {.number = 0};
	struct root_arrival a = {.i = i, .entry = &place.entry, .key = key, .e = e};
	int r = table_entry(i->table, 0, &place.entry, e);

	if (r == 0) {
		a.plain = malloc(i->descriptor.max_chunk_size);
		r = a.plain ? i->source->ops->read_chunks(i->source, &place, 1, false, root_arrival, &a, e)
			    : err_set(e, -ENOMEM, "out of memory");
	}
	if (r == 0)
		r = a.result;
	if (r < 0) {
		free(a.plain);
		return err_prefix(e, r, "root chunk");
	}
	*plain = a.plain;
	*size = a.size;
	return 0;
}
