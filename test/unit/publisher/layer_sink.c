/* SPDX-License-Identifier: Apache-2.0
 * Runs become chunks: large files alone, small ones together and whole; a broken promise is told. The other
 * half, that the guest reads the same bytes back, is index_writer.c's. */
#include "publisher/layer_sink.h"
#include "crypto/kdf.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"
#include "publisher/sealed_layer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static struct seal_pool *pool;
static struct secret prk;
static struct cutter cutter;
static struct layer_sink *sink;
static int fd;
static struct err e;

static void setup(void)
{
	cr_assert_eq(secret_random(&prk), 0);
	cr_assert_eq(cutter_init(&cutter, &prk), 0);
	cr_assert_eq(seal_pool_new(&pool, 2, &(struct seal_options){1, PADDING_NONE}, &e), 0);
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	cr_assert_eq(layer_sink_open(&sink, fd, pool, &prk, &cutter, &e), 0);
}

static void teardown(void)
{
	layer_sink_close(sink);
	seal_pool_free(pool);
	(void)close(fd);
}

TestSuite(layer_sink, .init = setup, .fini = teardown);

static uint64_t run(uint64_t size, uint8_t seed)
{
	static uint8_t piece[BLOCK_SIZE];
	uint64_t first, left = size;

	cr_assert_eq(layer_sink_begin(sink, size, &first, &e), 0, "%s", e.text);
	while (left > 0) {
		size_t n = left < sizeof(piece) ? left : sizeof(piece);

		for (size_t i = 0; i < n; i++)
			piece[i] = (uint8_t)(seed * i + left / 4096);
		cr_assert_eq(layer_sink_write(sink, piece, n, &e), 0, "%s", e.text);
		left -= n;
	}
	cr_assert_eq(layer_sink_end(sink, &e), 0, "%s", e.text);
	return first;
}

Test(layer_sink, gives_each_run_whole_blocks_one_behind_the_other)
{
	cr_expect_eq(run(1, 1), 0u);
	cr_expect_eq(run(4096, 2), 1u);
	cr_expect_eq(run(4097, 3), 2u);
	cr_expect_eq(run(CUT_LARGE_FILE, 4), 4u);
	cr_expect_eq(run(5, 5), 4 + CUT_LARGE_FILE / 4096u);
}

Test(layer_sink, keeps_large_files_alone_and_small_ones_whole)
{
	struct sealed_layer l;
	uint64_t block = 0;

	(void)run(10, 1);
	(void)run(CUT_LARGE_FILE, 2);
	(void)run(20, 3);
	for (uint8_t i = 0; i < 40; i++)
		(void)run(CUT_LARGE_FILE - 1, i);
	cr_assert_eq(layer_sink_finish(sink, &l, &e), 0);
	cr_expect_eq(l.n_blocks, 1 + 32 + 1 + 40 * 32);
	/* every chunk begins where a file does: 1, 33 and then each 32nd block */
	for (size_t i = 0; i < l.n_extents; i++) {
		if (block > 33)
			cr_expect_eq((block - 34) % 32, 0u, "a chunk begins at block %lu", block);
		block += l.chunks.records[l.extents[i]].chunk.plain_size / 4096;
	}
	cr_expect_eq(block, l.n_blocks);
	cr_expect_eq(l.chunks.records[l.extents[0]].chunk.plain_size, 4096u);
	sealed_layer_deinit(&l);
}

Test(layer_sink, makes_an_empty_blob_of_an_empty_layer)
{
	char digest[DIGEST_TEXT_SIZE];
	struct sealed_layer l;

	cr_assert_eq(layer_sink_finish(sink, &l, &e), 0);
	cr_expect_eq(l.size, 0u);
	cr_expect_eq(l.n_blocks, 0u);
	cr_expect_str_eq(digest_text(&l.digest, digest),
			 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	sealed_layer_deinit(&l);
}

Test(layer_sink, refuses_fewer_or_more_bytes_than_promised)
{
	struct sealed_layer l;
	uint64_t first;

	cr_expect_eq(layer_sink_write(sink, "x", 1, &e), -EINVAL);
	cr_expect_eq(layer_sink_end(sink, &e), -EINVAL);
	cr_assert_eq(layer_sink_begin(sink, 3, &first, &e), 0);
	cr_expect_eq(layer_sink_begin(sink, 3, &first, &e), -EINVAL);
	cr_expect_eq(layer_sink_write(sink, "four", 4, &e), -EINVAL);
	cr_expect_eq(layer_sink_write(sink, "tw", 2, &e), 0);
	cr_expect_eq(layer_sink_end(sink, &e), -EINVAL);
	cr_expect_eq(layer_sink_finish(sink, &l, &e), -EINVAL);
}

Test(layer_sink, tells_when_the_blob_cannot_be_written)
{
	struct sealed_layer l;
	int null = open("/dev/full", O_WRONLY | O_CLOEXEC), r = 0;

	cr_assert(null >= 0);
	layer_sink_close(sink);
	cr_assert_eq(layer_sink_open(&sink, null, pool, &prk, &cutter, &e), 0);
	for (uint8_t i = 0; i < 100 && r == 0; i++) {
		uint64_t first;

		r = layer_sink_begin(sink, 4, &first, &e);
		if (r == 0)
			r = layer_sink_write(sink, "data", 4, &e);
		if (r == 0)
			r = layer_sink_end(sink, &e);
	}
	if (r == 0)
		r = layer_sink_finish(sink, &l, &e);
	cr_expect_eq(r, -ENOSPC);
	(void)close(null);
}
