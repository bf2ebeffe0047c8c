/* SPDX-License-Identifier: Apache-2.0
 * One chunk: the guest opens what was sealed; what a key depends on; sizes and padding. */
#include "publisher/chunk_seal.h"
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "guestfs/chunk_open.h"
#include "proto/format/chunk_header.h"
#include "proto/format/format.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct secret prk = {{1, 2, 3}};
static uint8_t plain[MAX_CHUNK_SIZE], opened[MAX_CHUNK_SIZE];

static struct chunk_sealer *sealer(int level, enum padding padding)
{
	struct chunk_sealer *s;

	cr_assert_eq(chunk_sealer_new(&s, &(struct seal_options){level, padding}), 0);
	return s;
}

static void fill_text(size_t n)
{
	for (size_t i = 0; i < n; i++)
		plain[i] = (uint8_t)((uint8_t) "sealed and streamed "[i % 20] + i / 512 % 3);
}

static void fill_noise(size_t n)
{
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		plain[i] = (uint8_t)x;
	}
}

/* Sealed, then opened by the guest's own code. */
static struct sealed_chunk round_trip(struct chunk_sealer *s, size_t n)
{
	struct sealed_chunk c;
	struct opener *opener;
	const uint8_t *stored;
	uint32_t size;
	struct err e = {{0}};

	cr_assert_eq(chunk_seal(s, &prk, plain, n, &c, &stored), 0);
	cr_assert_eq(c.plain_size, n);
	struct chunk_entry entry = {.id = c.id, .stored_size = c.stored_size};
	struct chunk_expect expect = {&entry, &c.key, (uint32_t)n, MAX_CHUNK_SIZE};

	cr_assert_eq(opener_new(&opener), 0);
	memset(opened, 0xaa, n);
	cr_assert_eq(chunk_open(opener, opened, &size, &expect, stored, c.stored_size, &e), 0, "%s", e.text);
	cr_expect_eq(size, n);
	cr_expect_eq(memcmp(opened, plain, n), 0);
	opener_free(opener);
	return c;
}

Test(chunk_seal, is_opened_by_the_guest)
{
	static const size_t sizes[] = {1, 2, 15, 4095, 4096, 4097, 65536, 524288, MAX_CHUNK_SIZE};

	for (int padding = PADDING_NONE; padding <= PADDING_PADME; padding++) {
		struct chunk_sealer *s = sealer(3, (enum padding)padding);

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			fill_text(sizes[i]);
			(void)round_trip(s, sizes[i]);
			fill_noise(sizes[i]);
			(void)round_trip(s, sizes[i]);
		}
		chunk_sealer_free(s);
	}
}

Test(chunk_seal, stays_raw_where_zstd_does_not_pay)
{
	struct chunk_sealer *s = sealer(3, PADDING_NONE);

	fill_noise(65536);
	cr_expect_eq(round_trip(s, 65536).stored_size, CHUNK_HEADER_SIZE + 65536 + AEAD_TAG_SIZE);
	fill_text(65536);
	cr_expect_lt(round_trip(s, 65536).stored_size, 8192u);
	chunk_sealer_free(s);
}

Test(chunk_seal, gives_the_same_bytes_whatever_was_sealed_before)
{
	struct chunk_sealer *a = sealer(3, PADDING_NONE), *b = sealer(3, PADDING_NONE);
	struct sealed_chunk first, second;

	fill_noise(300000);
	(void)round_trip(b, 300000);
	fill_text(200000);
	(void)round_trip(b, 5000);
	first = round_trip(a, 200000);
	second = round_trip(b, 200000);
	cr_expect(digest_equal(&first.id, &second.id));
	cr_expect(secret_equal(&first.key, &second.key));
	chunk_sealer_free(a);
	chunk_sealer_free(b);
}

Test(chunk_seal, derives_another_key_for_another_compression)
{
	struct chunk_sealer *fast = sealer(1, PADDING_NONE), *small = sealer(19, PADDING_NONE);
	struct chunk_sealer *padded = sealer(1, PADDING_PADME);
	struct sealed_chunk a, b, c;

	fill_text(300000);
	for (size_t i = 0; i < 300000; i += 97)
		plain[i] = (uint8_t)(i * i);
	a = round_trip(fast, 300000);
	b = round_trip(small, 300000);
	c = round_trip(padded, 300000);
	cr_expect_neq(a.stored_size, b.stored_size);
	cr_expect_not(secret_equal(&a.key, &b.key));
	cr_expect_not(secret_equal(&a.key, &c.key));
	chunk_sealer_free(fast);
	chunk_sealer_free(small);
	chunk_sealer_free(padded);
}

Test(chunk_seal, seals_a_message_once)
{
	struct chunk_sealer *s = sealer(3, PADDING_NONE);
	const struct secret key = {{9}};
	struct sealed_chunk c;
	const uint8_t *stored;
	struct digest d;
	uint32_t size;

	cr_expect_eq(chunk_seal_message(s, &key, &c, &stored), -EINVAL);
	cr_assert_eq(chunk_message(s, "root", 4, &d, &size), 0);
	cr_assert_eq(chunk_seal_message(s, &key, &c, &stored), 0);
	cr_expect_eq(c.stored_size, size);
	cr_expect_eq(chunk_seal_message(s, &key, &c, &stored), -EINVAL);
	chunk_sealer_free(s);
}

Test(chunk_seal, refuses_sizes_outside_the_format)
{
	struct chunk_sealer *s = sealer(3, PADDING_PADME);
	struct sealed_chunk c;
	const uint8_t *stored;

	cr_expect_eq(chunk_seal(s, &prk, plain, 0, &c, &stored), -EINVAL);
	cr_expect_eq(chunk_seal(s, &prk, plain, MAX_CHUNK_SIZE + 1, &c, &stored), -EINVAL);
	fill_noise(MAX_CHUNK_SIZE);
	cr_assert_eq(chunk_seal(s, &prk, plain, MAX_CHUNK_SIZE, &c, &stored), 0);
	cr_expect_leq(c.stored_size, MAX_STORED_SIZE);
	chunk_sealer_free(s);
}

Test(padme, follows_its_definition)
{
	static const uint64_t known[][2] = {
		{1, 1},	  {2, 2},	{8, 8},		{9, 10},	{11, 12},
		{17, 18}, {1000, 1024}, {65536, 65536}, {65537, 67584}, {1000000, 1015808},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		cr_expect_eq(padme(known[i][0]), known[i][1], "padme(%lu) = %lu", known[i][0],
			     padme(known[i][0]));
	for (uint64_t n = 1; n < 3000000; n += 1 + n / 1000) {
		cr_assert_geq(padme(n), n);
		cr_assert_leq(padme(n), n + n / 8 + 1);
		cr_assert_eq(padme(padme(n)), padme(n));
	}
}
