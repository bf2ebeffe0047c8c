/* SPDX-License-Identifier: Apache-2.0
 * What the publisher seals, the guest's own reader opens: layers, metadata, config, in one image of random
 * bytes. */
#include "publisher/index_writer.h"
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "guestfs/image.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/cutter.h"
#include "publisher/public_config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define N_LAYERS 3

static const uint32_t startup[] = {1500, 3, 99999999, 4, 1100, 1500, 400};

static uint64_t seed = 1;

/* Half of it compresses. */
static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = i / 8192 % 2 ? (uint8_t)(seed >> 56) : (uint8_t)(i / 64);
	}
}

static int temp_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	cr_assert(fd >= 0);
	return fd;
}

/* A sealed image in files, and its plaintext beside it. */
struct fixture {
	struct sealed_layer layers[N_LAYERS];
	int fds[N_LAYERS + 1];
	struct buf plain, manifest;
	struct index_result index;
	struct secret image_key;
	struct source source;
	atomic_uint requests;
};

static void add_run(struct layer_sink *sink, struct buf *plain, uint64_t base, const uint8_t *p, size_t n)
{
	struct err e;
	uint64_t first;

	cr_assert_eq(layer_sink_begin(sink, n, &first, &e), 0);
	cr_assert_eq(base + first * BLOCK_SIZE, plain->size);
	for (size_t at = 0, part; at < n; at += part) {
		part = n - at < 10007 ? n - at : 10007;
		cr_assert_eq(layer_sink_write(sink, p + at, part, &e), 0);
	}
	cr_assert_eq(layer_sink_end(sink, &e), 0);
	buf_put(plain, p, n);
	buf_zero(plain, (BLOCK_SIZE - n % BLOCK_SIZE) % BLOCK_SIZE);
}

static void seal_layer(struct fixture *f, size_t i, struct seal_pool *pool, const struct secret *prk,
		       const struct cutter *cutter)
{
	static const size_t sizes[] = {1,      4096,   4097,  100000, 3000000, 17,     131072, 131071,
				       524288, 524289, 70000, 70000,  70000,   400000, 9,      3000000};
	cleanup_free uint8_t *data = malloc(3000000);
	struct layer_sink *sink;
	uint64_t base = f->plain.size;
	struct err e;

	f->fds[i] = temp_file();
	cr_assert_eq(layer_sink_open(&sink, f->fds[i], pool, prk, cutter, &e), 0);
	for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
		/* the last of a layer is the fifth again, the last layer is empty */
		if (i == N_LAYERS - 1)
			break;
		if (j != 15)
			fill(data, sizes[j]);
		add_run(sink, &f->plain, base, data, sizes[j]);
	}
	cr_assert_eq(layer_sink_finish(sink, &f->layers[i], &e), 0);
	cr_assert_eq(base + f->layers[i].n_blocks * BLOCK_SIZE, f->plain.size);
	layer_sink_close(sink);
}

static int fixture_open(struct source *s, struct buf *manifest, uint8_t descriptor[static DESCRIPTOR_SIZE],
			struct err *e)
{
	struct fixture *f = (struct fixture *)((char *)s - offsetof(struct fixture, source));

	(void)e;
	buf_put(manifest, f->manifest.data, f->manifest.size);
	return pread_full(f->fds[N_LAYERS], descriptor, DESCRIPTOR_SIZE, f->index.size - DESCRIPTOR_SIZE);
}

static int fixture_read_index(struct source *s, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct fixture *f = (struct fixture *)((char *)s - offsetof(struct fixture, source));

	(void)e;
	return pread_full(f->fds[N_LAYERS], to, n, offset);
}

static int fixture_read_chunks(struct source *s, const struct chunk_place *places, size_t n, bool ahead,
			       chunk_arrival *arrival, void *arg, struct err *e)
{
	struct fixture *f = (struct fixture *)((char *)s - offsetof(struct fixture, source));

	(void)ahead;
	(void)e;
	f->requests++;
	for (size_t i = 0; i < n; i++) {
		const struct chunk_entry *c = &places[i].entry;
		cleanup_free uint8_t *stored = malloc(c->stored_size);
		int r = pread_full(f->fds[c->blob], stored, c->stored_size, c->offset);

		arrival(arg, i, r < 0 ? NULL : stored, r);
	}
	return 0;
}

static void fixture_close(struct source *s)
{
	(void)s;
}

static const struct source_ops fixture_ops = {
	.open = fixture_open,
	.read_index = fixture_read_index,
	.read_chunks = fixture_read_chunks,
	.close = fixture_close,
};

static int find_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *descriptor_digest,
		    struct err *e)
{
	(void)manifest;
	(void)descriptor;
	(void)descriptor_digest;
	(void)e;
	*key = *(const struct secret *)arg;
	return 0;
}

static void make_manifest(struct fixture *f)
{
	struct oci_blob blobs[N_LAYERS + 1] = {0};
	struct manifest_parts parts = {
		.layers = blobs, .n_layers = N_LAYERS + 1, .descriptor = f->index.descriptor};
	cleanup_free char *json = NULL;
	struct err e;

	parts.config.size = 2;
	for (size_t i = 0; i < N_LAYERS; i++)
		blobs[i] = (struct oci_blob){.digest = f->layers[i].digest, .size = f->layers[i].size};
	blobs[N_LAYERS] = (struct oci_blob){.digest = f->index.digest, .size = f->index.size};
	cr_assert_eq(sealed_manifest_make(&json, &parts, &e), 0, "%s", e.text);
	buf_put(&f->manifest, json, strlen(json));
}

static void fixture_make(struct fixture *f, size_t meta_size, unsigned n_threads, enum padding padding)
{
	struct seal_options options = {.level = 3, .padding = padding};
	cleanup_secret struct secret domain = {{7}}, prk;
	cleanup_free uint8_t *meta = malloc(meta_size);
	struct index_writer *w;
	struct seal_pool *pool;
	struct cutter cutter;
	cleanup_close int spool = temp_file();
	struct err e = {{0}};

	*f = (struct fixture){.source = {&fixture_ops}, .image_key = {{9}}};
	seed = 1;
	buf_init(&f->plain, 64u << 20);
	buf_init(&f->manifest, 1u << 20);
	f->fds[N_LAYERS] = temp_file();
	cr_assert_eq(kdf_prk(&prk, SALT_DOMAIN, &domain), 0);
	cr_assert_eq(cutter_init(&cutter, &prk), 0);
	cr_assert_eq(seal_pool_new(&pool, n_threads, &options, &e), 0);
	fill(meta, meta_size);
	buf_put(&f->plain, meta, meta_size);
	for (size_t i = 0; i < N_LAYERS; i++)
		seal_layer(f, i, pool, &prk, &cutter);
	cr_assert_eq(index_writer_new(&w, pool, spool, &e), 0);
	cr_assert_eq(index_writer_metadata(w, meta, meta_size / 2, &e), 0);
	cr_assert_eq(index_writer_metadata(w, meta + meta_size / 2, meta_size - meta_size / 2, &e), 0);
	cr_assert_eq(
		index_writer_finish(w,
				    &(struct index_inputs){.layers = f->layers,
							   .n_layers = N_LAYERS,
							   .config = "{\"os\":\"linux\"}",
							   .config_size = 14,
							   .startup_blocks = startup,
							   .n_startup = sizeof(startup) / sizeof(startup[0]),
							   .image_key = &f->image_key},
				    f->fds[N_LAYERS], &f->index, &e),
		0, "%s", e.text);
	index_writer_free(w);
	seal_pool_free(pool);
	cutter_deinit(&cutter);
	make_manifest(f);
}

static void fixture_deinit(struct fixture *f)
{
	for (size_t i = 0; i < N_LAYERS; i++)
		sealed_layer_deinit(&f->layers[i]);
	for (size_t i = 0; i <= N_LAYERS; i++)
		(void)close(f->fds[i]);
	buf_deinit(&f->plain);
	buf_deinit(&f->manifest);
}

static void open_and_compare(struct fixture *f)
{
	struct image_options options = {.find_key = find_key, .find_key_arg = &f->image_key};
	cleanup_free uint8_t *got = malloc(f->plain.size);
	cleanup_buf struct buf config = {.max = 100};
	struct image *image;
	struct err e = {{0}};

	cr_assert_eq(image_open(&image, &f->source, &options, &e), 0, "%s", e.text);
	cr_expect_eq(image_descriptor(image)->image_size, f->plain.size);
	cr_expect(digest_equal(image_descriptor_digest(image), &f->index.descriptor));
	cr_assert_eq(image_pread(image, got, f->plain.size, 0, &e), 0, "%s", e.text);
	cr_expect_eq(memcmp(got, f->plain.data, f->plain.size), 0);
	cr_assert_eq(image_config(image, &config, &e), 0, "%s", e.text);
	cr_expect_eq(config.size, 14u);
	cr_expect_eq(image_verify(image, NULL, NULL, &e), 0, "%s", e.text);
	image_close(image);
}

Test(index_writer, makes_what_the_guest_reads)
{
	static const size_t meta_sizes[] = {4096, 128u << 10, (128u << 10) + 4096, 1u << 20};

	for (size_t i = 0; i < sizeof(meta_sizes) / sizeof(meta_sizes[0]); i++) {
		struct fixture f;

		fixture_make(&f, meta_sizes[i], 2, i % 2 ? PADDING_PADME : PADDING_NONE);
		open_and_compare(&f);
		fixture_deinit(&f);
	}
}

Test(layer_sink, writes_the_same_at_any_number_of_threads)
{
	struct fixture one, four;

	fixture_make(&one, 4096, 1, PADDING_NONE);
	fixture_make(&four, 4096, 4, PADDING_NONE);
	for (size_t i = 0; i < N_LAYERS; i++)
		cr_expect(digest_equal(&one.layers[i].digest, &four.layers[i].digest));
	/* what stands twice in a layer is stored once */
	cr_expect_lt(one.layers[0].chunks.n, one.layers[0].n_extents);
	/* every image has keys of its own */
	cr_expect_not(digest_equal(&one.index.descriptor, &four.index.descriptor));
	fixture_deinit(&one);
	fixture_deinit(&four);
}

/* Map pages, metadata and data of the start-up list come in two requests, and nothing more is asked for. */
Test(index_writer, lists_all_that_reading_from_the_start_takes)
{
	struct fixture f;
	struct image_options options = {.find_key = find_key, .find_key_arg = &f.image_key};
	struct image *image;
	struct err e = {{0}};
	unsigned int before;
	uint8_t got[BLOCK_SIZE];

	fixture_make(&f, 1 << 20, 1, PADDING_NONE);
	cr_assert_eq(image_open(&image, &f.source, &options, &e), 0, "%s", e.text);
	before = f.requests;
	cr_assert_eq(image_prefetch_startup(image, &e), 0, "%s", e.text);
	for (size_t i = 0; i < sizeof(startup) / sizeof(startup[0]); i++) {
		uint64_t at = (uint64_t)startup[i] * BLOCK_SIZE;

		if (at >= f.plain.size)
			continue;
		cr_assert_eq(image_pread(image, got, BLOCK_SIZE, at, &e), 0, "%s", e.text);
		cr_expect_arr_eq(got, f.plain.data + at, BLOCK_SIZE);
	}
	/* the list, the map, and what is on the list */
	cr_expect_eq(f.requests - before, 3u, "%u requests", f.requests - before);
	cr_expect_eq(image_verify(image, NULL, NULL, &e), 0, "%s", e.text);
	image_close(image);
	fixture_deinit(&f);
}

Test(index_writer, refuses_metadata_that_is_not_whole_blocks)
{
	struct seal_options options = {.level = 1};
	struct sealed_layer layer = {0};
	struct index_writer *w;
	struct seal_pool *pool;
	struct index_result result;
	cleanup_close int spool = temp_file(), out = temp_file();
	struct err e;

	cr_assert_eq(seal_pool_new(&pool, 1, &options, &e), 0);
	cr_assert_eq(index_writer_new(&w, pool, spool, &e), 0);
	cr_assert_eq(index_writer_metadata(w, "half a block", 12, &e), 0);
	cr_expect_eq(index_writer_finish(w,
					 &(struct index_inputs){.layers = &layer,
								.n_layers = 1,
								.config = "{}",
								.config_size = 2,
								.image_key = &(struct secret){{1}}},
					 out, &result, &e),
		     -E2BIG);
	index_writer_free(w);
	seal_pool_free(pool);
}
