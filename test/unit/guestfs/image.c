/* SPDX-License-Identifier: Apache-2.0
 * The image reader against images that were sealed by other code: what it gives, what it refuses to open, and
 * many readers at once. */
#include "crypto/sha256.h"
#include "image_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(image, .init = make_plain, .fini = drop_plain, .timeout = 120);

Test(image, reads_what_was_sealed_whatever_the_cut)
{
	static const struct seal_options options[] = {
		{0},
		{.cut = 4096, .page_extents = 7, .n_data_blobs = 5},
		{.cut = 1 << 20, .padding = 100},
		{.cut = 16384,
		 .max_chunk_size = 16384,
		 .page_extents = 50,
		 .raw = true,
		 .meta_size = 1 << 20},
		{.cut = 12288,
		 .max_chunk_size = 32768,
		 .page_extents = 1,
		 .n_data_blobs = 126,
		 .startup = true},
	};

	for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++) {
		struct source_memory s;
		struct sealed sealed;
		struct image *i;

		seal(&sealed, plain, SIZE, &options[k]);
		source_memory_init(&s, &sealed);
		i = must_open(&s);
		check_all(i, 4096);
		check_all(i, 100000);
		check_all(i, SIZE);
		image_close(i);
		cr_assert_eq(s.closed, 1);
		seal_free(&sealed);
	}
}

Test(image, gives_the_config_and_the_identity)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	struct digest d;
	struct buf config;

	seal(&sealed, plain, SIZE, &(struct seal_options){.config = "{\"os\":\"linux\"}"});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	buf_init(&config, 1000);
	cr_assert_eq(image_config(i, &config, &e), 0);
	cr_assert_eq(config.size, 14);
	cr_assert_eq(memcmp(config.data, "{\"os\":\"linux\"}", 14), 0);
	cr_assert_eq(sha256(&d, sealed.descriptor, 256), 0);
	cr_assert(digest_equal(&d, image_descriptor_digest(i)));
	cr_assert_eq(sha256(&d, sealed.manifest, strlen(sealed.manifest)), 0);
	cr_assert(digest_equal(&d, image_manifest_digest(i)));
	cr_assert_eq(image_descriptor(i)->image_size, SIZE);
	buf_deinit(&config);
	image_close(i);
	seal_free(&sealed);
}

/* A claim takes at most 2 MiB, and less of a small cache. What is not given is not held either: all of it can
 * be read in such a cache while nothing is held. */
Test(image, a_view_is_what_one_claim_holds_or_nothing)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct image_view v;
	struct err e = {""};
	uint8_t key[32];

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 131072});
	source_memory_init(&s, &sealed);
	memcpy(key, sealed.image_key, 32);
	cr_assert_eq(image_open(&i, &s.source,
				&(struct image_options){.find_key = find_given_key,
							.find_key_arg = key,
							.cache_bytes = 65536},
				NULL),
		     0);
	cr_assert_eq(image_view(i, &v, SIZE, 0, &e), VIEW_TOO_LARGE);
	cr_assert_eq(image_view(i, &v, 262144, 0, &e), 0);
	cr_assert_geq(v.n_parts, 2);
	image_view_release(i, &v);
	for (size_t at = 4096; at < SIZE; at += 4096)
		check_view(i, 10, at - 5);
	check_all(i, 50000);
	image_close(i);
	seal_free(&sealed);
}

Test(image, refuses_ranges_past_the_end)
{
	static const struct {
		uint64_t offset;
		size_t n;
	} bad[] = {{SIZE, 1},	    {SIZE + 1, 0}, {SIZE - 1, 2},
		   {UINT64_MAX, 1}, {1, SIZE_MAX}, {UINT64_MAX, SIZE_MAX}};
	struct source_memory s;
	struct image_view v;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	uint8_t byte;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		cr_assert_eq(image_pread(i, &byte, bad[k].n, bad[k].offset, &e), -EINVAL);
		cr_assert_eq(image_view(i, &v, bad[k].n, bad[k].offset, &e), -EINVAL);
	}
	cr_assert_eq(image_view(i, &v, 0, 0, &e), -EINVAL);
	cr_assert_eq(image_pread(i, &byte, 0, SIZE, &e), 0);
	cr_assert_eq(image_pread(i, &byte, 1, SIZE - 1, &e), 0);
	cr_assert_eq(byte, plain[SIZE - 1]);
	image_close(i);
	seal_free(&sealed);
}

Test(image, refuses_what_the_caller_did_not_want)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct digest other = {{1}};
	struct err e = {""};
	struct image_options o = {.find_key = find_given_key};
	uint8_t key[32];

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	cr_assert_eq(image_open(&i, &s.source, &o, &e), -ENOKEY);
	memcpy(key, sealed.image_key, 32);
	key[31] ^= 1;
	o.find_key_arg = key;
	cr_assert_eq(image_open(&i, &s.source, &o, &e), -ENOKEY);
	cr_assert_eq(s.chunk_reads + s.index_reads, 0);
	key[31] ^= 1;
	o.want_manifest = &other;
	cr_assert_eq(image_open(&i, &s.source, &o, &e), -EBADMSG);
	o.want_manifest = NULL;
	o.want_descriptor = &other;
	cr_assert_eq(image_open(&i, &s.source, &o, &e), -EBADMSG);
	cr_assert_eq(s.chunk_reads + s.index_reads, 0);
	o.want_descriptor = NULL;
	o.want_either = &other;
	cr_assert_eq(image_open(&i, &s.source, &o, &e), -EBADMSG);
	cr_assert_eq(s.chunk_reads + s.index_reads, 0);
	seal_free(&sealed);
}

Test(image, gives_the_one_that_the_caller_wanted)
{
	struct source_memory s;
	struct sealed sealed;
	struct digest manifest, descriptor;
	uint8_t key[32];

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	memcpy(key, sealed.image_key, 32);
	cr_assert_eq(sha256(&manifest, sealed.manifest, strlen(sealed.manifest)), 0);
	cr_assert_eq(sha256(&descriptor, sealed.descriptor, sizeof(sealed.descriptor)), 0);
	for (int either = 0; either < 2; either++) {
		const struct image_options o = {.want_manifest = &manifest,
						.want_descriptor = &descriptor,
						.want_either = either ? &descriptor : &manifest,
						.find_key = find_given_key,
						.find_key_arg = key};
		struct image *i = NULL;
		struct err e = {""};

		cr_assert_eq(image_open(&i, &s.source, &o, &e), 0, "%s", e.text);
		cr_assert(digest_equal(image_manifest_digest(i), &manifest));
		cr_assert(digest_equal(image_descriptor_digest(i), &descriptor));
		image_close(i);
	}
	seal_free(&sealed);
}

#define CONFIG                                                                                               \
	"\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"size\":2,"                             \
	"\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\""

Test(image, refuses_what_is_not_sealed)
{
	static const char *const manifests[] = {
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.index.v1+json\",\"manifests\":[]}",
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.manifest.v1+json\",\"config\":{" CONFIG
		"},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"size\":2,"
		"\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"}]}",
	};

	for (size_t k = 0; k < sizeof(manifests) / sizeof(manifests[0]); k++) {
		struct source_memory s;
		struct sealed sealed;
		struct image *i = NULL;
		struct err e = {""};

		seal(&sealed, plain, SIZE, &(struct seal_options){0});
		source_memory_init(&s, &sealed);
		free(sealed.manifest);
		sealed.manifest = strdup(manifests[k]);
		cr_assert_eq(try_open(&i, &s, &e), -ENOTSUP, "%s", e.text);
		cr_assert_eq(s.chunk_reads + s.index_reads, 0);
		seal_free(&sealed);
	}
}

Test(image, refuses_a_manifest_that_does_not_say_its_descriptor)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct err e = {""};
	char *at;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	at = strstr(sealed.manifest, ",\"annotations\":{");
	cr_assert_not_null(at);
	memcpy(at, "}]}", sizeof("}]}"));
	cr_assert_eq(try_open(&i, &s, &e), -EUCLEAN);
	cr_assert_not_null(strstr(e.text, "[M4]"), "%s", e.text);
	cr_assert_eq(s.chunk_reads + s.index_reads, 0);
	seal_free(&sealed);
}

static int fail_data(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const struct sealed *s = arg;

	(void)p;
	(void)n;
	return where == IN_CHUNK && offset >= s->n_meta_chunks ? -ETIMEDOUT : 0;
}

Test(image, passes_the_sources_failures_on)
{
	struct source_memory s;
	struct sealed sealed;
	struct image_view v;
	struct image *i;
	struct err e = {""};
	uint8_t got[4096];

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	s.tamper = fail_data;
	s.arg = &sealed;
	i = must_open(&s);
	cr_assert_eq(image_pread(i, got, 4096, 0, &e), 0);
	cr_assert_eq(image_pread(i, got, 4096, 4096, &e), -ETIMEDOUT);
	cr_assert_eq(image_view(i, &v, 4096, 4096, &e), -ETIMEDOUT);
	s.tamper = NULL;
	check_all(i, 65536);
	image_close(i);
	seal_free(&sealed);
}

struct readers {
	struct image *i;
	uint64_t offset;
	unsigned int seed;
};

static void *same_chunk(void *arg)
{
	struct readers *r = arg;
	uint8_t got[4096];

	cr_assert_eq(image_pread(r->i, got, 4096, r->offset, NULL), 0);
	cr_assert_eq(memcmp(got, plain + r->offset, 4096), 0);
	return NULL;
}

Test(image, readers_of_one_chunk_share_one_fetch)
{
	struct source_memory s;
	struct sealed sealed;
	struct readers r = {.offset = 2u << 20};
	pthread_t t[8];
	unsigned int before;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	r.i = must_open(&s);
	cr_assert_eq(image_pread(r.i, &before, 4, 0, NULL), 0); /* the map is there now */
	before = s.chunks;
	s.delay_us = 50000;
	for (int k = 0; k < 8; k++)
		cr_assert_eq(pthread_create(&t[k], NULL, same_chunk, &r), 0);
	for (int k = 0; k < 8; k++)
		pthread_join(t[k], NULL);
	cr_assert_eq(s.chunks - before, 1);
	image_close(r.i);
	seal_free(&sealed);
}

/* A host that lets requests hang, until it answers them all. */
static struct {
	atomic_bool hangs;
	atomic_uint n;
} hanging;

static int hang(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)arg;
	(void)offset;
	(void)p;
	(void)n;
	if (where == IN_CHUNK)
		atomic_fetch_add(&hanging.n, 1);
	while (where == IN_CHUNK && hanging.hangs)
		(void)usleep(1000);
	return 0;
}

/* However many read: what the host can make arrive at once is no more than 2 MiB, or half of what chunks may
 * take. */
Test(image, a_host_that_answers_all_at_once_finds_no_more_than_there_is_memory_for)
{
	enum { CUT = 262144, READERS = SIZE / CUT, CACHE = 1 << 20, LOADING = 2 << 20 };
	struct source_memory s;
	struct sealed sealed;
	struct readers r[READERS];
	pthread_t t[READERS];
	struct image *i = NULL;
	uint8_t key[32], got[16];

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = CUT});
	source_memory_init(&s, &sealed);
	memcpy(key, sealed.image_key, 32);
	cr_assert_eq(image_open(&i, &s.source,
				&(struct image_options){.find_key = find_given_key,
							.find_key_arg = key,
							.cache_bytes = CACHE},
				NULL),
		     0);
	cr_assert_eq(image_pread(i, got, sizeof(got), SIZE - 16, NULL), 0); /* the map is there now */
	s.tamper = hang;
	hanging.hangs = true;
	for (unsigned int k = 0; k < READERS; k++) {
		r[k] = (struct readers){.i = i, .offset = (uint64_t)k * CUT};
		cr_assert_eq(pthread_create(&t[k], NULL, same_chunk, &r[k]), 0);
	}
	for (int wait = 0; wait < 1000 && hanging.n < LOADING / CUT; wait++)
		(void)usleep(10000);
	(void)usleep(2500000);
	cr_assert_eq(hanging.n, LOADING / CUT);
	hanging.hangs = false;
	for (unsigned int k = 0; k < READERS; k++)
		pthread_join(t[k], NULL);
	image_close(i);
	seal_free(&sealed);
}

/* A read that takes many requests, each in time, has one time-out for all. */
Test(image, a_slow_host_costs_a_read_its_time_out_and_no_more)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct err e = {""};
	uint8_t key[32], *got = malloc(SIZE);
	unsigned int before;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	memcpy(key, sealed.image_key, 32);
	cr_assert_eq(image_open(&i, &s.source,
				&(struct image_options){.find_key = find_given_key,
							.find_key_arg = key,
							.cache_bytes = 65536,
							.timeout_ms = 200},
				NULL),
		     0);
	before = s.chunk_reads;
	s.delay_us = 50000;
	cr_assert_eq(image_pread(i, got, SIZE, 0, &e), -ETIMEDOUT);
	cr_assert_not_null(strstr(e.text, "bytes came in time"), "%s", e.text);
	cr_assert_leq(s.chunk_reads - before, 5);
	image_close(i);
	seal_free(&sealed);
	free(got);
}

static int flip_sometimes(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	static atomic_uint count;

	(void)arg;
	(void)offset;
	if (where == IN_CHUNK && atomic_fetch_add(&count, 1) % 13 == 7)
		p[n / 2] ^= 1;
	return 0;
}

static void *random_reads(void *arg)
{
	struct readers *r = arg;
	unsigned int seed = r->seed;
	uint8_t *got = malloc(300000);

	for (int k = 0; k < 150; k++) {
		size_t n = (size_t)rand_r(&seed) % 300000, at = (size_t)rand_r(&seed) % (SIZE - n);
		int x = image_pread(r->i, got, n, at, NULL);

		cr_assert(x == -EBADMSG || (x == 0 && memcmp(got, plain + at, n) == 0));
	}
	free(got);
	return NULL;
}

Test(image, many_readers_with_a_small_cache_and_a_lying_host)
{
	struct source_memory s;
	struct sealed sealed;
	struct readers r[6];
	pthread_t t[6];
	struct image *i = NULL;
	uint8_t key[32];

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 20480, .page_extents = 9, .startup = true});
	source_memory_init(&s, &sealed);
	memcpy(key, sealed.image_key, 32);
	cr_assert_eq(image_open(&i, &s.source,
				&(struct image_options){.find_key = find_given_key,
							.find_key_arg = key,
							.cache_bytes = 256 << 10},
				NULL),
		     0);
	s.tamper = flip_sometimes;
	(void)image_prefetch_startup(i, NULL); /* the host lies about the list, too */
	image_will_need(i, 0, UINT64_MAX);
	for (unsigned int k = 0; k < 6; k++) {
		r[k] = (struct readers){.i = i, .seed = k};
		cr_assert_eq(pthread_create(&t[k], NULL, random_reads, &r[k]), 0);
	}
	for (int k = 0; k < 6; k++)
		pthread_join(t[k], NULL);
	image_close(i);
	seal_free(&sealed);
}

Test(image, the_start_up_list_is_read_ahead)
{
	struct source_memory s;
	struct sealed sealed;
	struct image_stats stats;
	struct image *i;

	seal(&sealed, plain, SIZE, &(struct seal_options){.startup = true});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	cr_assert_eq(image_prefetch_startup(i, NULL), 0);
	for (int k = 0; k < 1000; k++) {
		image_stats(i, &stats);
		if (stats.chunks >= sealed.n_chunks - sealed.n_meta_chunks)
			break;
		(void)usleep(5000);
	}
	cr_assert_geq(stats.chunks, sealed.n_chunks - sealed.n_meta_chunks);
	image_close(i);
	seal_free(&sealed);
}
