/* SPDX-License-Identifier: Apache-2.0
 * The image reader against images that were sealed by other code, honest and not. */
#include "guestfs/image.h"
#include "crypto/sha256.h"
#include "seal_fixture.h"
#include "source_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (3u << 20)

static uint8_t *plain;

/* Half noise, half text, and a repeated stretch: raw, compressed and shared chunks. */
static void make_plain(void)
{
	uint32_t x = 12345;

	plain = malloc(SIZE);
	cr_assert(plain);
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		plain[i] = (i >> 16 & 1) ? (uint8_t)(x >> 24)
					 : (uint8_t)("cocoon spins "[i % 13] + (int)(i >> 18));
	}
	memcpy(plain + (1u << 20), plain + (1u << 19), 1u << 19);
}

static void drop_plain(void)
{
	free(plain);
}

TestSuite(image, .init = make_plain, .fini = drop_plain, .timeout = 120);

static int try_open(struct image **out, struct source_memory *s, struct err *e)
{
	uint8_t key[32];

	memcpy(key, s->image->image_key, sizeof(key));
	return image_open(out, &s->source,
			  &(struct image_options){.find_key = find_given_key, .find_key_arg = key}, e);
}

static struct image *must_open(struct source_memory *s)
{
	struct err e = {""};
	struct image *i = NULL;
	int r = try_open(&i, s, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
	return i;
}

static void check_all(struct image *i, size_t step)
{
	uint8_t *got = malloc(step);
	struct err e = {""};

	for (size_t at = 0; at < SIZE; at += step) {
		size_t n = SIZE - at < step ? SIZE - at : step;
		int r = image_pread(i, got, n, at, &e);

		cr_assert_eq(r, 0, "at %zu: %d: %s", at, r, e.text);
		cr_assert_eq(memcmp(got, plain + at, n), 0, "at %zu", at);
	}
	free(got);
}

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

Test(image, verifies_what_was_sealed)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	int r;

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 8192, .page_extents = 100, .startup = true});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	r = image_verify(i, NULL, NULL, &e);
	cr_assert_eq(r, 0, "%s", e.text);
	image_close(i);
	seal_free(&sealed);
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

Test(image, refuses_ranges_past_the_end)
{
	static const struct {
		uint64_t offset;
		size_t n;
	} bad[] = {{SIZE, 1},	    {SIZE + 1, 0}, {SIZE - 1, 2},
		   {UINT64_MAX, 1}, {1, SIZE_MAX}, {UINT64_MAX, SIZE_MAX}};
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	uint8_t byte;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
		cr_assert_eq(image_pread(i, &byte, bad[k].n, bad[k].offset, &e), -EINVAL);
	cr_assert_eq(image_pread(i, &byte, 0, SIZE, &e), 0);
	cr_assert_eq(image_pread(i, &byte, 1, SIZE - 1, &e), 0);
	cr_assert_eq(byte, plain[SIZE - 1]);
	image_close(i);
	seal_free(&sealed);
}

/* One byte that is wrong whenever it is handed out. */
struct flip {
	enum where where;
	uint64_t offset; /* of the byte; for chunks: the chunk */
	size_t at;	 /* in the chunk */
};

static int flip_byte(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const struct flip *f = arg;

	if (where != f->where)
		return 0;
	if (where == IN_CHUNK) {
		if (offset == f->offset)
			p[f->at % n] ^= 0x10;
	} else if (f->offset >= offset && f->offset - offset < n) {
		p[f->offset - offset] ^= 0x10;
	}
	return 0;
}

Test(image, every_byte_of_manifest_layers_and_descriptor_counts)
{
	struct source_memory s;
	struct sealed sealed;
	struct err e = {""};
	struct flip f = {.where = IN_DESCRIPTOR};

	seal(&sealed, plain, SIZE, &(struct seal_options){.n_data_blobs = 2});
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.offset = 0; f.offset < DESCRIPTOR_SIZE; f.offset++) {
		struct image *i = NULL;
		int r = try_open(&i, &s, &e);

		cr_assert(r == -EBADMSG || r == -EUCLEAN || r == -ENOTSUP || r == -ENOKEY, "byte %d: %d",
			  (int)f.offset, r);
		cr_assert_null(i);
	}
	/* the digest of the first data blob, in the manifest */
	f.where = IN_MANIFEST;
	f.offset = (uint64_t)(strstr(strstr(sealed.manifest, "layer.cocoon.v1"), "sha256:") + 10 -
			      sealed.manifest);
	for (int k = 0; k < 50; k++, f.offset++) {
		struct image *i = NULL;

		cr_assert_lt(try_open(&i, &s, &e), 0);
	}
	cr_assert_eq(s.closed, 0); /* a failed open leaves the source to its owner */
	seal_free(&sealed);
}

/* Read everything in blocks; each is right or -EBADMSG, and in all `bad` are. */
static size_t count_bad_blocks(struct image *i)
{
	uint8_t got[4096];
	struct err e = {""};
	size_t bad = 0;

	for (size_t at = 0; at < SIZE; at += sizeof(got)) {
		int r = image_pread(i, got, sizeof(got), at, &e);

		cr_assert(r == 0 || r == -EBADMSG, "%d: %s", r, e.text);
		if (r == 0) {
			cr_assert_eq(memcmp(got, plain + at, sizeof(got)), 0);
		} else {
			for (size_t k = 0; k < sizeof(got); k++)
				cr_assert_eq(got[k], 0);
			bad++;
		}
	}
	return bad;
}

Test(image, one_flipped_byte_fails_its_chunk_and_nothing_else)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_CHUNK};
	uint32_t last;

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 65536});
	last = sealed.n_chunks - 1;
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.at = 0; f.at < 4000; f.at += 397) {
		struct image *i;

		f.offset = last;
		i = must_open(&s);
		cr_assert_eq(count_bad_blocks(i),
			     15); /* the last chunk is a block shorter: metadata is one block */
		/* the host changes its mind: the same read is good again */
		f.offset = UINT64_MAX;
		cr_assert_eq(count_bad_blocks(i), 0);
		image_close(i);
	}
	seal_free(&sealed);
}

Test(image, a_flipped_byte_of_table_or_tree_fails_what_it_covers)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_INDEX};
	uint64_t table, offset;

	/* 768 data chunks of a block: 13 table blocks */
	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 4096});
	table = (uint64_t)(sealed.n_chunks + 63) / 64 * 4096;
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (offset = 4096; offset < table; offset += 4096 + 64) {
		struct image *i;
		size_t bad;

		f.offset = offset;
		i = must_open(&s);
		bad = count_bad_blocks(i);
		cr_assert(bad > 0 && bad < 400, "at %d: %zu", (int)offset, bad);
		image_close(i);
	}
	/* the superblock is nobody's business here, and the root hash block is everybody's */
	f.offset = table + 100;
	{
		struct image *i = must_open(&s);

		cr_assert_eq(count_bad_blocks(i), 0);
		image_close(i);
	}
	f.offset = table + 4096;
	{
		struct err e = {""};
		struct image *i = NULL;

		cr_assert_eq(try_open(&i, &s, &e), -EBADMSG);
	}
	seal_free(&sealed);
}

Test(image, verify_finds_every_flip)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_CHUNK};
	struct err e = {""};

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 65536, .page_extents = 20, .startup = true});
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.offset = 0; f.offset < sealed.n_chunks; f.offset++) {
		struct image *i = NULL;
		int r = try_open(&i, &s, &e);

		f.at = (size_t)f.offset * 31;
		if (r == 0)
			r = image_verify(i, NULL, NULL, &e);
		cr_assert_eq(r, -EBADMSG, "chunk %d: %d", (int)f.offset, r);
		image_close(i);
	}
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

/* What a publisher got wrong and the hash tree vouches for. */
static int verify_sealed(const struct seal_options *o, bool spoil)
{
	struct flip f = {.where = IN_CHUNK, .at = 5};
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	int r;

	seal(&sealed, plain, SIZE, o);
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	f.offset = sealed.n_chunks - 1;
	s.arg = &f;
	s.tamper = spoil ? flip_byte : NULL;
	r = image_verify(i, NULL, NULL, &e);
	cr_assert(r == 0 || e.text[0], "words");
	image_close(i);
	seal_free(&sealed);
	return r;
}

Test(image, verify_looks_at_chunks_that_nothing_names)
{
	const struct seal_options o = {.unnamed = true};

	cr_assert_eq(verify_sealed(&o, false), 0);
	cr_assert_eq(verify_sealed(&o, true), -EBADMSG);
}

Test(image, verify_finds_one_id_in_two_entries)
{
	cr_assert_eq(verify_sealed(&(struct seal_options){.id_twice = true}, false), -EUCLEAN);
}

Test(image, verify_finds_numbers_on_the_start_up_list_that_are_none)
{
	static const uint32_t numbers[] = {0, 0x40000000, UINT32_MAX};

	for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++)
		cr_assert_eq(
			verify_sealed(&(struct seal_options){.startup = true, .startup_first = &numbers[k]},
				      false),
			-EUCLEAN, "%u", numbers[k]);
}

static void count_progress(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *last = arg;

	cr_assert(done >= *last && done <= total);
	*last = done;
}

Test(image, verify_says_how_far_it_is)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	uint64_t last = 0;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	cr_assert_eq(image_verify(i, count_progress, &last, NULL), 0);
	cr_assert_eq(last, SIZE);
	image_close(i);
	seal_free(&sealed);
}

static int fail_where(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const struct flip *f = arg;

	(void)p;
	(void)n;
	return where == f->where && (where != IN_CHUNK || offset == f->offset) ? -ETIMEDOUT : 0;
}

Test(image, verify_and_open_pass_the_sources_failures_on)
{
	struct flip f = {.where = IN_CHUNK};
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct err e = {""};

	seal(&sealed, plain, SIZE, &(struct seal_options){.unnamed = true});
	source_memory_init(&s, &sealed);
	s.tamper = fail_where;
	s.arg = &f;
	cr_assert_eq(try_open(&i, &s, &e), -ETIMEDOUT);
	cr_assert_not_null(strstr(e.text, "root chunk"), "%s", e.text);
	f.offset = sealed.n_chunks - 1;
	i = must_open(&s);
	cr_assert_eq(image_verify(i, NULL, NULL, &e), -ETIMEDOUT);
	image_close(i);
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
