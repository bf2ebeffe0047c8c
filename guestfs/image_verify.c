/* SPDX-License-Identifier: Apache-2.0
 * Checking all of an image, as `cocoon verify` does: every entry of the table, the whole map with every chunk
 * it names, config and start-up list, and the stored bytes of chunks that nothing names. Several threads walk
 * the map together. */
#include "crypto/sha256.h"
#include "guestfs/image_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define THREADS_MAX 16

struct verify {
	struct image *i;
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
	pthread_mutex_t lock; /* guards what follows */
	uint32_t next, end;   /* blocks that nobody has taken yet */
	uint64_t done;
	uint8_t *named; /* a bit for each chunk that was opened */
	int result;
	struct err err; /* of the first failure */
};

static void name_chunk(struct verify *v, uint32_t number)
{
	v->named[number / 8] |= (uint8_t)(1u << number % 8);
}

static bool is_named(const struct verify *v, uint32_t number)
{
	return v->named[number / 8] >> number % 8 & 1;
}

static int by_digest(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST_SIZE);
}

/* Every entry is sound and authentic, and no id stands twice. */
static int verify_table(struct verify *v, struct err *e)
{
	uint32_t n = v->i->descriptor.n_chunks;
	cleanup_free struct digest *ids = calloc(n, sizeof(*ids));
	int r = 0;

	if (!ids)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint32_t k = 0; k < n && r == 0; k++) {
		struct chunk_entry entry;

		r = table_entry(v->i->table, k, &entry, e);
		ids[k] = entry.id;
	}
	if (r == 0)
		r = table_verify_end(v->i->table, e);
	if (r < 0)
		return r;
	qsort(ids, n, sizeof(*ids), by_digest);
	for (uint32_t k = 1; k < n; k++)
		if (digest_equal(&ids[k], &ids[k - 1]))
			return err_set(e, -EUCLEAN, "chunk table: one id in two entries");
	return 0;
}

/* Take the next extents off the map; n is 0 at its end. */
static int take_extents(struct verify *v, struct extent x[static LOAD_MAX_CHUNKS], size_t *n, struct err *e)
{
	int r = v->result;

	*n = 0;
	if (r == 0 && v->next < v->end)
		r = image_extents(v->i, v->next, v->end, NULL, x, n, e);
	if (r == 0 && *n > 0)
		v->next = x[*n - 1].first_block + x[*n - 1].plain_size / BLOCK_SIZE;
	return r;
}

static void extents_done(struct verify *v, const struct extent *x, size_t n, int r, const struct err *e)
{
	pthread_mutex_lock(&v->lock);
	for (size_t k = 0; k < n; k++) {
		name_chunk(v, x[k].chunk);
		v->done += x[k].plain_size;
	}
	if (r < 0 && v->result == 0) {
		v->result = r;
		v->err = *e;
	}
	if (r == 0 && v->progress)
		v->progress(v->arg, v->done, v->i->descriptor.image_size);
	pthread_mutex_unlock(&v->lock);
}

static void *verify_thread(void *arg)
{
	struct verify *v = arg;
	struct extent x[LOAD_MAX_CHUNKS];
	struct chunk *chunks[LOAD_MAX_CHUNKS];
	struct err e = {""};
	size_t n;
	int r;

	do {
		pthread_mutex_lock(&v->lock);
		r = take_extents(v, x, &n, &e);
		pthread_mutex_unlock(&v->lock);
		if (r == 0 && n > 0)
			r = image_claim(v->i, x, n, NULL, chunks, &e);
		if (r == 0)
			image_release(v->i, chunks, n);
		extents_done(v, x, n, r, &e);
	} while (r == 0 && n > 0);
	explicit_bzero(x, sizeof(x));
	return NULL;
}

static int verify_map(struct verify *v, struct err *e)
{
	int n = get_nprocs();
	pthread_t threads[THREADS_MAX];
	int started = 0;

	while (started < n && started < THREADS_MAX &&
	       pthread_create(&threads[started], NULL, verify_thread, v) == 0)
		started++;
	if (started == 0)
		(void)verify_thread(v);
	for (int k = 0; k < started; k++)
		pthread_join(threads[k], NULL);
	return v->result < 0 ? err_set(e, v->result, "%s", v->err.text) : 0;
}

/* Map pages, config and start-up list; the numbers in the latter. */
static int verify_objects(struct verify *v, struct err *e)
{
	const struct root *root = map_root(v->i->map);
	size_t n = (size_t)root->n_map_pages + root->n_config_chunks + root->n_startup_chunks;
	cleanup_buf struct buf config, startup;
	int r;

	name_chunk(v, 0);
	for (size_t k = 0; k < n; k++)
		name_chunk(v, root->extents[k].chunk);
	buf_init(&config, root->config_size);
	buf_init(&startup, root->startup_size);
	r = image_config(v->i, &config, e);
	if (r == 0)
		r = image_read_object(v->i, root_startup(root), root->n_startup_chunks, &startup, e);
	for (size_t k = 0; r == 0 && k + 4 <= startup.size; k += 4) {
		uint32_t number = get_le32(startup.data + k);

		if (number == 0 || number >= v->i->descriptor.n_chunks)
			r = err_set(e, -EUCLEAN, "start-up list: chunk %u of %u", number,
				    v->i->descriptor.n_chunks);
	}
	return r;
}

struct stored_check {
	const struct chunk_place *places;
	int result;
};

static void stored_arrival(void *arg, size_t k, const uint8_t *stored, int error)
{
	struct stored_check *c = arg;
	struct digest id;
	int r = stored ? sha256(&id, stored, c->places[k].entry.stored_size) : error;

	if (r == 0 && !digest_equal(&id, &c->places[k].entry.id))
		r = -EBADMSG;
	if (r < 0)
		c->result = r;
}

/* Chunks that no extent names cannot be opened; their stored bytes can be checked all the same. */
static int verify_unnamed(struct verify *v, struct err *e)
{
	struct source *s = v->i->source;

	for (uint32_t k = 0; k < v->i->descriptor.n_chunks; k++) {
		struct chunk_place place = {.number = k};
		struct stored_check c = {.places = &place};
		int r;

		if (is_named(v, k))
			continue;
		r = table_entry(v->i->table, k, &place.entry, e);
		if (r == 0)
			r = s->ops->read_chunks(s, &place, 1, false, stored_arrival, &c, e);
		if (r < 0)
			return r;
		if (c.result < 0)
			return err_errno(e, c.result, "chunk %u", k);
	}
	return 0;
}

int image_verify(struct image *i, void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		 struct err *e)
{
	struct verify v = {.i = i, .progress = progress, .arg = arg};
	int r;

	v.end = (uint32_t)(i->descriptor.image_size / BLOCK_SIZE);
	v.named = calloc(i->descriptor.n_chunks / 8 + 1, 1);
	if (!v.named)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&v.lock, NULL);
	r = verify_table(&v, e);
	if (r == 0)
		r = verify_objects(&v, e);
	if (r == 0)
		r = verify_map(&v, e);
	if (r == 0)
		r = verify_unnamed(&v, e);
	pthread_mutex_destroy(&v.lock);
	free(v.named);
	return r;
}
