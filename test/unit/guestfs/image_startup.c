/* SPDX-License-Identifier: Apache-2.0
 * The start-up list: what is asked for is a function of the image, whatever is read meanwhile. */
#include "guestfs/image.h"
#include "proto/base/bytes.h"
#include "seal_fixture.h"
#include "source_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CUT 4096u
#define BIG ((size_t)68 << 20) /* more chunks than a table that is fetched at once, or kept whole */

/* Writes down what it is asked for, and passes it on. */
struct recorder {
	struct source source;
	struct source_memory below;
	pthread_mutex_t lock; /* guards `log` */
	struct buf log;
	atomic_uint guesses; /* requests ahead of need */
};

static void note(struct recorder *r, const void *p, size_t n)
{
	buf_put(&r->log, p, n);
}

static int record_open(struct source *s, struct buf *manifest, uint8_t descriptor[static DESCRIPTOR_SIZE],
		       struct err *e)
{
	struct recorder *r = (struct recorder *)s;

	return r->below.source.ops->open(&r->below.source, manifest, descriptor, e);
}

static int record_index(struct source *s, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct recorder *r = (struct recorder *)s;

	pthread_mutex_lock(&r->lock);
	note(r, &offset, sizeof(offset));
	note(r, &n, sizeof(n));
	pthread_mutex_unlock(&r->lock);
	return r->below.source.ops->read_index(&r->below.source, to, n, offset, e);
}

static int record_chunks(struct source *s, const struct chunk_place *places, size_t n, bool ahead,
			 chunk_arrival *arrival, void *arg, struct err *e)
{
	struct recorder *r = (struct recorder *)s;

	r->guesses += ahead;
	pthread_mutex_lock(&r->lock);
	note(r, &ahead, sizeof(ahead));
	note(r, &n, sizeof(n));
	for (size_t k = 0; k < n; k++)
		note(r, &places[k].number, sizeof(places[k].number));
	pthread_mutex_unlock(&r->lock);
	return r->below.source.ops->read_chunks(&r->below.source, places, n, ahead, arrival, arg, e);
}

static void record_close(struct source *s)
{
	(void)s;
}

static const struct source_ops recorder_ops = {
	.open = record_open,
	.read_index = record_index,
	.read_chunks = record_chunks,
	.close = record_close,
};

/* An image of numbered blocks, sealed with a list of all data chunks, the last first. */
struct fixture {
	struct sealed sealed;
	uint8_t *plain;
	size_t size, listed; /* bytes of all, and at its end of what the list covers */
	struct recorder recorder;
	struct image *image;
};

static void make(struct fixture *f, size_t size, uint32_t page_extents)
{
	*f = (struct fixture){.plain = calloc(1, size), .size = size};
	cr_assert(f->plain);
	for (size_t at = 0; at < size; at += CUT)
		memcpy(f->plain + at, &at, sizeof(at));
	seal(&f->sealed, f->plain, size,
	     &(struct seal_options){.cut = CUT, .page_extents = page_extents, .startup = true});
}

/* `kept`: bytes of chunks that stay in memory, which are three quarters of the cache; 0 for the default. */
static void open_image(struct fixture *f, size_t kept)
{
	struct err e = {""};
	uint8_t key[32];

	memcpy(key, f->sealed.image_key, sizeof(key));
	f->recorder = (struct recorder){.source = {&recorder_ops}, .log = {.max = SIZE_MAX / 2}};
	pthread_mutex_init(&f->recorder.lock, NULL);
	source_memory_init(&f->recorder.below, &f->sealed);
	cr_assert_eq(image_open(&f->image, &f->recorder.source,
				&(struct image_options){.find_key = find_given_key,
							.find_key_arg = key,
							.cache_bytes = (kept + 2) / 3 * 4},
				&e),
		     0, "%s", e.text);
}

static void close_image(struct fixture *f)
{
	image_close(f->image);
	buf_deinit(&f->recorder.log);
	pthread_mutex_destroy(&f->recorder.lock);
}

static void drop(struct fixture *f)
{
	seal_free(&f->sealed);
	free(f->plain);
}

static void read_at(struct fixture *f, uint64_t offset, size_t n)
{
	uint8_t *got = malloc(n);
	struct err e = {""};

	cr_assert_eq(image_pread(f->image, got, n, offset, &e), 0, "%s", e.text);
	cr_assert_eq(memcmp(got, f->plain + offset, n), 0);
	free(got);
}

struct reader {
	struct fixture *f;
	unsigned int seed;
	int n;
};

static void *read_listed(void *arg)
{
	struct reader *r = arg;
	size_t listed = r->f->listed;

	for (int k = 0; k < r->n; k++) {
		size_t n = 1 + (size_t)rand_r(&r->seed) % 300000;

		read_at(r->f, r->f->size - listed + (size_t)rand_r(&r->seed) % (listed - n), n);
	}
	return NULL;
}

/* What is asked for while `n_readers` read, until the last chunk of the list can be read. */
static struct buf requests(struct fixture *f, unsigned int seed, int n_readers, int n_reads)
{
	struct buf log = {.max = SIZE_MAX / 2};
	struct reader r[4];
	pthread_t t[4];

	open_image(f, f->listed / 7 * 8);
	f->recorder.below.delay_us = 300;
	cr_assert_geq(image_prefetch_startup(f->image, NULL), 0);
	for (int k = 0; k < n_readers; k++) {
		r[k] = (struct reader){f, seed * 100 + (unsigned int)k, n_reads};
		cr_assert_eq(pthread_create(&t[k], NULL, read_listed, &r[k]), 0);
	}
	for (int k = 0; k < n_readers; k++)
		pthread_join(t[k], NULL);
	read_at(f, f->size - f->listed, CUT);
	(void)usleep(20000); /* for guesses, if there were any */
	pthread_mutex_lock(&f->recorder.lock);
	buf_put(&log, f->recorder.log.data, f->recorder.log.size);
	pthread_mutex_unlock(&f->recorder.lock);
	close_image(f);
	return log;
}

static void check_same(struct fixture *f, int n_runs, int n_reads)
{
	struct buf alone = requests(f, 0, 0, 0);

	for (int k = 1; k <= n_runs; k++) {
		struct buf other = requests(f, (unsigned int)k, 4, n_reads);

		cr_expect_eq(other.size, alone.size);
		cr_expect(other.size == alone.size && memcmp(other.data, alone.data, alone.size) == 0,
			  "run %d asks for something else", k);
		buf_deinit(&other);
	}
	buf_deinit(&alone);
}

TestSuite(image_startup, .timeout = 280);

Test(image_startup, requests_do_not_tell_what_is_read)
{
	struct fixture f;

	make(&f, 3u << 20, 100);
	f.listed = 7u << 18;
	check_same(&f, 6, 60);
	drop(&f);
}

/* Table blocks and map pages are fetched on the way. */
Test(image_startup, nor_do_those_for_a_large_table)
{
	struct fixture f;

	make(&f, BIG, 5000);
	f.listed = 7u << 20;
	check_same(&f, 1, 100);
	drop(&f);
}

/* An eighth of what is kept stays free; what does not fit is read on demand. */
Test(image_startup, takes_what_the_cache_holds)
{
	struct fixture f;
	struct image_stats before, after;
	size_t fits = 896u << 10;

	make(&f, 3u << 20, 1000);
	open_image(&f, 1u << 20);
	image_stats(f.image, &before);
	cr_assert_eq(image_prefetch_startup(f.image, NULL), STARTUP_CUT);
	read_at(&f, f.size - fits, fits); /* the list begins at the end */
	(void)usleep(20000);
	image_stats(f.image, &after);
	/* the list, a map page, and what fits */
	cr_expect_eq(after.chunks - before.chunks, 2 + fits / CUT);
	read_at(&f, CUT, CUT);
	image_stats(f.image, &before);
	cr_expect_eq(before.chunks - after.chunks, 1u);
	close_image(&f);
	drop(&f);
}

struct gate {
	uint64_t number;
	atomic_bool open;
};

static int wait_at_gate(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	struct gate *g = arg;

	(void)p;
	(void)n;
	while (where == IN_CHUNK && offset == g->number && !g->open)
		(void)usleep(1000);
	return 0;
}

/* What is not on the list is asked for at once, but nothing is guessed from it before the list is done. */
Test(image_startup, guesses_wait_for_the_list)
{
	struct fixture f;
	struct gate g = {0};

	make(&f, 8u << 20, 3000);
	open_image(&f, 4u << 20);
	g.number = f.sealed.n_chunks - 1; /* in the first request */
	f.recorder.below.tamper = wait_at_gate;
	f.recorder.below.arg = &g;
	cr_assert_eq(image_prefetch_startup(f.image, NULL), STARTUP_CUT);
	read_at(&f, CUT, 2u << 20);
	(void)usleep(20000);
	cr_expect_eq(f.recorder.guesses, 0u);
	g.open = true;
	read_at(&f, f.size - (3584u << 10), 3584u << 10); /* all of the list */
	for (int k = 0; k < 1000 && f.recorder.guesses == 0; k++) {
		read_at(&f, CUT + (2u << 20), 2u << 20);
		(void)usleep(2000);
	}
	cr_expect_gt(f.recorder.guesses, 0u);
	close_image(&f);
	drop(&f);
}

static int fail_one(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const uint64_t *number = arg;

	(void)p;
	(void)n;
	return where == IN_CHUNK && offset == *number ? -EBADMSG : 0;
}

/* A chunk of the list that fails, fails for its readers and nobody else, and can be had later. */
Test(image_startup, a_chunk_that_fails_is_asked_for_again)
{
	struct fixture f;
	uint64_t number;
	uint8_t got[CUT];

	make(&f, 1u << 20, 1000);
	open_image(&f, 0);
	number = f.sealed.n_chunks - 1; /* the image's last */
	f.recorder.below.tamper = fail_one;
	f.recorder.below.arg = &number;
	cr_assert_eq(image_prefetch_startup(f.image, NULL), 0);
	cr_expect_eq(image_pread(f.image, got, CUT, f.size - CUT, NULL), -EBADMSG);
	read_at(&f, CUT, CUT);
	read_at(&f, f.size - 2 * CUT, CUT);
	f.recorder.below.tamper = NULL;
	read_at(&f, f.size - CUT, CUT);
	close_image(&f);
	drop(&f);
}

static int fail_new(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)arg;
	(void)offset;
	(void)p;
	(void)n;
	return where == IN_CHUNK ? -ENOENT : 0;
}

/* Not without it: that would tell what it is there to hide. */
Test(image_startup, a_list_that_cannot_be_had_is_a_failure)
{
	struct fixture f;
	struct err e = {""};

	make(&f, 1u << 20, 1000);
	open_image(&f, 0);
	f.recorder.below.tamper = fail_new;
	cr_expect_eq(image_prefetch_startup(f.image, &e), -ENOENT);
	cr_expect_neq(strstr(e.text, "start-up list"), NULL, "%s", e.text);
	close_image(&f);
	drop(&f);
}

/* An end in the middle of it does not wait for all of it. */
Test(image_startup, ends_at_any_time)
{
	struct fixture f;

	make(&f, 3u << 20, 1000); /* 12 requests */
	for (unsigned int k = 0; k < 6; k++) {
		open_image(&f, 0);
		f.recorder.below.delay_us = 20000;
		cr_assert_eq(image_prefetch_startup(f.image, NULL), 0);
		f.recorder.below.chunk_reads = 0;
		(void)usleep(5000 * k);
		close_image(&f);
		cr_expect_lt(f.recorder.below.chunk_reads, 10u);
	}
	drop(&f);
}
