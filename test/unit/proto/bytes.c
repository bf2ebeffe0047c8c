/* SPDX-License-Identifier: Apache-2.0
 * The cursor never leaves its window and tells once; the buffer never passes its largest size. */
#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t sample[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

Test(bytes, reads_little_endian_in_order)
{
	struct bytes b = bytes_of(sample, sizeof(sample));

	cr_assert_eq(bytes_u8(&b), 1);
	cr_assert_eq(bytes_le16(&b), 0x0302);
	cr_assert_eq(bytes_le32(&b), 0x07060504u);
	cr_assert_eq(bytes_le64(&b), 0x0f0e0d0c0b0a0908ull);
	cr_assert(bytes_end(&b));
}

Test(bytes, short_read_gives_zero_and_poisons)
{
	struct bytes b = bytes_of(sample, 7);

	cr_assert_eq(bytes_le64(&b), 0);
	cr_assert(b.bad);
	/* what would have fitted is not given any more either */
	cr_assert_eq(bytes_u8(&b), 0);
	cr_assert_null(bytes_take(&b, 1));
	cr_assert_not(bytes_end(&b));
}

Test(bytes, end_wants_nothing_left)
{
	struct bytes b = bytes_of(sample, 2);

	(void)bytes_u8(&b);
	cr_assert_not(bytes_end(&b));
	(void)bytes_u8(&b);
	cr_assert(bytes_end(&b));
}

Test(bytes, take_borrows_and_copy_zeroes_on_failure)
{
	struct bytes b = bytes_of(sample, 4);
	uint8_t to[8] = {9, 9, 9, 9, 9, 9, 9, 9};

	cr_assert_eq(bytes_take(&b, 2), sample);
	bytes_copy(&b, to, 3);
	cr_assert_eq(to[0] | to[1] | to[2], 0);
	cr_assert_eq(to[3], 9);
	cr_assert(b.bad);
}

Test(bytes, take_of_a_huge_size_does_not_wrap)
{
	struct bytes b = bytes_of(sample, 4);

	cr_assert_null(bytes_take(&b, SIZE_MAX));
	cr_assert(b.bad);
}

Test(bytes, reserved_bytes_must_be_zero)
{
	static const uint8_t raw[] = {0, 0, 0, 0, 1, 0};
	struct bytes b = bytes_of(raw, sizeof(raw));

	bytes_zero(&b, 4);
	cr_assert_not(b.bad);
	bytes_zero(&b, 2);
	cr_assert(b.bad);
	b = bytes_of(raw, 3);
	bytes_zero(&b, 4);
	cr_assert(b.bad);
}

Test(bytes, get_and_put_are_inverse)
{
	uint8_t raw[8];

	put_le16(raw, 0xfedc);
	cr_assert_eq(raw[0], 0xdc);
	cr_assert_eq(get_le16(raw), 0xfedc);
	put_le32(raw, 0xfedcba98u);
	cr_assert_eq(raw[0], 0x98);
	cr_assert_eq(get_le32(raw), 0xfedcba98u);
	put_le64(raw, 0xfedcba9876543210ull);
	cr_assert_eq(raw[7], 0xfe);
	cr_assert_eq(get_le64(raw), 0xfedcba9876543210ull);
}

static void fill(struct buf *b)
{
	buf_u8(b, 1);
	buf_le16(b, 0x0302);
	buf_le32(b, 0x07060504u);
	buf_le64(b, 0x0f0e0d0c0b0a0908ull);
}

Test(buf, writes_what_the_cursor_reads)
{
	cleanup_buf struct buf b;

	buf_init(&b, 100);
	fill(&b);
	buf_zero(&b, 2);
	cr_assert_not(buf_failed(&b));
	cr_assert_eq(b.size, sizeof(sample) + 2);
	cr_assert_arr_eq(b.data, sample, sizeof(sample));
	cr_assert_eq(b.data[15] | b.data[16], 0);
}

Test(buf, grows_over_many_pieces)
{
	cleanup_buf struct buf b;

	buf_init(&b, 1 << 20);
	for (unsigned i = 0; i < 1 << 18; i++)
		buf_le32(&b, i);
	cr_assert_not(buf_failed(&b));
	cr_assert_eq(b.size, 1u << 20);
	for (unsigned i = 0; i < 1 << 18; i++)
		cr_assert_eq(get_le32(b.data + (size_t)4 * i), i);
	buf_u8(&b, 0);
	cr_assert(buf_failed(&b));
}

Test(buf, never_passes_its_largest_size_and_stays_failed)
{
	cleanup_buf struct buf b;

	buf_init(&b, 16);
	fill(&b);
	buf_le16(&b, 7);
	cr_assert(buf_failed(&b));
	cr_assert_eq(b.size, 15);
	buf_u8(&b, 7); /* would fit */
	cr_assert_eq(b.size, 15);
	buf_zero(&b, SIZE_MAX);
	cr_assert_eq(b.size, 15);
}

Test(buf, of_size_zero_takes_nothing)
{
	cleanup_buf struct buf b;

	buf_init(&b, 0);
	buf_put(&b, NULL, 0);
	cr_assert_not(buf_failed(&b));
	buf_u8(&b, 1);
	cr_assert(buf_failed(&b));
	cr_assert_null(b.data);
}

Test(buf, deinit_leaves_an_empty_buffer_of_the_same_kind)
{
	struct buf b;

	buf_init_secret(&b, 20);
	fill(&b);
	buf_deinit(&b);
	cr_assert_null(b.data);
	cr_assert_eq(b.size, 0);
	cr_assert_eq(b.max, 20);
	cr_assert(b.secret);
	fill(&b);
	cr_assert_eq(b.size, 15);
	buf_deinit(&b);
	buf_deinit(&b);
}

Test(buf, secret_grows_without_changing_contents)
{
	cleanup_buf struct buf b;

	buf_init_secret(&b, 1 << 16);
	for (unsigned i = 0; i < 1 << 14; i++)
		buf_le32(&b, i * 2654435761u);
	cr_assert_not(buf_failed(&b));
	for (unsigned i = 0; i < 1 << 14; i++)
		cr_assert_eq(get_le32(b.data + (size_t)4 * i), i * 2654435761u);
}
