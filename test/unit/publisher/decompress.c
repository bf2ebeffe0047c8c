/* SPDX-License-Identifier: Apache-2.0
 * Streams in pieces of every size, cut off anywhere, damaged, and with something behind them. */
#include "publisher/decompress.h"

#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define SIZE 100000u

static uint8_t plain[SIZE];

static void fill(void)
{
	for (size_t i = 0; i < SIZE; i++)
		plain[i] = (uint8_t)(i * i >> 7);
}

TestSuite(decompress, .init = fill);

/* Append one member or frame. */
static void compress_into(struct buf *b, enum compression kind, const uint8_t *p, size_t n)
{
	uint8_t out[2 * SIZE];
	z_stream z = {0};

	if (kind == COMPRESSION_ZSTD) {
		ZSTD_CCtx *c = ZSTD_createCCtx();
		size_t size;

		(void)ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
		size = ZSTD_compress2(c, out, sizeof(out), p, n);
		cr_assert_not(ZSTD_isError(size));
		buf_put(b, out, size);
		ZSTD_freeCCtx(c);
		return;
	}
	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (z_const Bytef *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	z.next_out = out;
	z.avail_out = sizeof(out);
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	buf_put(b, out, z.total_out);
	cr_assert_eq(deflateEnd(&z), Z_OK);
}

/* All of it, `piece` bytes of input and `room` bytes of output at a time. 0 when it ended well; 1 when it may
 * not end there. */
static int run(enum compression kind, const uint8_t *p, size_t n, size_t piece, size_t room, struct buf *out)
{
	struct decompressor *d;
	uint8_t block[SIZE];
	int r = decompressor_new(&d, kind), ended;

	cr_assert_eq(r, 0);
	while (r == 0) {
		size_t now = n < piece ? n : piece, left = now, made = 0;

		r = decompressor_step(d, &p, &left, block, room, &made, NULL);
		n -= now - left;
		if (r == 0)
			buf_put(out, block, made);
		if (!made && !n)
			break;
	}
	ended = decompressor_at_end(d);
	decompressor_free(d);
	return r < 0 ? r : !ended;
}

Test(decompress, gives_the_same_bytes_in_pieces_of_any_size)
{
	static const size_t sizes[] = {1, 7, 512, SIZE};
	static const enum compression kinds[] = {COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD};

	for (size_t k = 0; k < 3; k++) {
		struct buf stored = {.max = 4 * SIZE};

		if (kinds[k] == COMPRESSION_NONE) {
			buf_put(&stored, plain, SIZE);
		} else {
			compress_into(&stored, kinds[k], plain, SIZE / 2);
			compress_into(&stored, kinds[k], plain, 0);
			compress_into(&stored, kinds[k], plain + SIZE / 2, SIZE / 2);
		}
		for (size_t i = 0; i < 4; i++) {
			for (size_t j = 1; j < 4; j++) {
				struct buf out = {.max = 4 * SIZE};

				cr_assert_eq(
					run(kinds[k], stored.data, stored.size, sizes[i], sizes[j], &out), 0);
				cr_assert_eq(out.size, SIZE, "kind %zu: %zu bytes", k, out.size);
				cr_assert_arr_eq(out.data, plain, SIZE);
				buf_deinit(&out);
			}
		}
		buf_deinit(&stored);
	}
}

Test(decompress, does_not_end_before_its_end)
{
	for (enum compression kind = COMPRESSION_GZIP; kind <= COMPRESSION_ZSTD; kind++) {
		struct buf stored = {.max = 4 * SIZE}, out = {.max = 64u << 20};

		compress_into(&stored, kind, plain, 3000);
		for (size_t n = 0; n < stored.size; n++)
			cr_assert_eq(run(kind, stored.data, n, SIZE, SIZE, &out), 1, "%zu of %zu", n,
				     stored.size);
		buf_deinit(&stored);
		buf_deinit(&out);
	}
}

Test(decompress, notices_every_flipped_bit_or_gives_the_same)
{
	for (enum compression kind = COMPRESSION_GZIP; kind <= COMPRESSION_ZSTD; kind++) {
		struct buf stored = {.max = 4 * SIZE};

		compress_into(&stored, kind, plain, 500);
		for (size_t bit = 0; bit < stored.size * 8; bit++) {
			struct buf out = {.max = 64u << 20};
			int r;

			stored.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			r = run(kind, stored.data, stored.size, SIZE, SIZE, &out);
			/* A gzip header has fields that say nothing about the data. */
			if (r == 0)
				cr_assert(out.size == 500 && !memcmp(out.data, plain, 500), "bit %zu", bit);
			stored.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			buf_deinit(&out);
		}
		buf_deinit(&stored);
	}
}

Test(decompress, refuses_what_is_something_else)
{
	static const uint8_t zeroes[512];
	struct buf gzip = {.max = 4 * SIZE}, zstd = {.max = 4 * SIZE}, out = {.max = SIZE};

	compress_into(&gzip, COMPRESSION_GZIP, plain, 100);
	compress_into(&zstd, COMPRESSION_ZSTD, plain, 100);
	cr_assert_eq(run(COMPRESSION_GZIP, zstd.data, zstd.size, SIZE, SIZE, &out), -EUCLEAN);
	cr_assert_eq(run(COMPRESSION_ZSTD, gzip.data, gzip.size, SIZE, SIZE, &out), -EUCLEAN);
	cr_assert_eq(run(COMPRESSION_GZIP, plain, SIZE, SIZE, SIZE, &out), -EUCLEAN);
	buf_put(&gzip, zeroes, sizeof(zeroes));
	buf_put(&zstd, zeroes, sizeof(zeroes));
	cr_assert_eq(run(COMPRESSION_GZIP, gzip.data, gzip.size, SIZE, SIZE, &out), -EUCLEAN,
		     "something behind it");
	cr_assert_eq(run(COMPRESSION_ZSTD, zstd.data, zstd.size, SIZE, SIZE, &out), -EUCLEAN,
		     "something behind it");
	buf_deinit(&gzip);
	buf_deinit(&zstd);
	buf_deinit(&out);
}
