/* SPDX-License-Identifier: Apache-2.0
 * The descriptor: both directions, and one breach of each condition [D1]…[D11] of FORMAT.md §3. [D10] is
 * about other bytes than these; here its field travels. */
#include "proto/format/descriptor.h"
#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct descriptor sample(void)
{
	struct descriptor d = {
		.image_size = 1 << 20,
		.n_chunks = 129,
		.n_blobs = 3,
		.max_chunk_size = 512 << 10,
		.n_meta_chunks = 4,
		.meta_offset = meta_offset_of(129),
	};

	memset(d.salt, 0x11, sizeof(d.salt));
	memset(d.root_hash.bytes, 0x22, DIGEST_SIZE);
	memset(d.key_commitment, 0x33, sizeof(d.key_commitment));
	memset(d.blobs_digest.bytes, 0x44, DIGEST_SIZE);
	return d;
}

Test(descriptor, decodes_what_it_encodes)
{
	struct descriptor d = sample(), got;
	uint8_t raw[DESCRIPTOR_SIZE], again[DESCRIPTOR_SIZE];
	struct err e;

	descriptor_encode(&d, raw);
	cr_assert_eq(descriptor_decode(&got, raw, &e), 0, "%s", e.text);
	cr_assert_eq(got.image_size, d.image_size);
	cr_assert_eq(got.n_chunks, d.n_chunks);
	cr_assert_eq(got.n_blobs, d.n_blobs);
	cr_assert_eq(got.max_chunk_size, d.max_chunk_size);
	cr_assert_eq(got.n_meta_chunks, d.n_meta_chunks);
	cr_assert_eq(got.meta_offset, d.meta_offset);
	cr_assert_arr_eq(got.salt, d.salt, 32);
	cr_assert(digest_equal(&got.root_hash, &d.root_hash));
	cr_assert_arr_eq(got.key_commitment, d.key_commitment, 32);
	cr_assert(digest_equal(&got.blobs_digest, &d.blobs_digest));
	descriptor_encode(&got, again);
	cr_assert_arr_eq(raw, again, sizeof(raw));
}

Test(descriptor, lies_where_the_format_says)
{
	struct descriptor d = sample();
	uint8_t raw[DESCRIPTOR_SIZE];

	descriptor_encode(&d, raw);
	cr_assert_eq(memcmp(raw, "COCOOND1", 8), 0);
	cr_assert_eq(get_le32(raw + 8), 1);
	cr_assert_eq(get_le32(raw + 12), 1);
	cr_assert_eq(get_le64(raw + 16), d.image_size);
	cr_assert_eq(get_le32(raw + 24), d.n_chunks);
	cr_assert_eq(get_le32(raw + 28), d.n_blobs);
	cr_assert_eq(get_le32(raw + 32), d.max_chunk_size);
	cr_assert_eq(get_le32(raw + 36), d.n_meta_chunks);
	cr_assert_eq(get_le64(raw + 40), d.meta_offset);
	cr_assert_eq(raw[48], 0x11);
	cr_assert_eq(raw[DESCRIPTOR_ROOT_HASH_OFFSET], 0x22);
	cr_assert_eq(raw[112], 0x33);
	cr_assert_eq(raw[144], 0x44);
	for (int i = 176; i < DESCRIPTOR_SIZE; i++)
		cr_assert_eq(raw[i], 0);
}

struct breach {
	const char *rule;
	size_t offset, size;
	uint64_t value;
	int code;
};

static void check_breach(const struct breach *b)
{
	struct descriptor d = sample(), got;
	uint8_t raw[DESCRIPTOR_SIZE];
	struct err e = {""};

	descriptor_encode(&d, raw);
	if (b->size == 1)
		raw[b->offset] = (uint8_t)b->value;
	else if (b->size == 4)
		put_le32(raw + b->offset, (uint32_t)b->value);
	else
		put_le64(raw + b->offset, b->value);
	cr_assert_eq(descriptor_decode(&got, raw, &e), b->code, "%s at %zu: %s", b->rule, b->offset, e.text);
	cr_assert_not_null(strstr(e.text, b->rule), "%s: %s", b->rule, e.text);
}

Test(descriptor, refuses_every_breach)
{
	static const struct breach breaches[] = {
		{"[D1]", 0, 1, 'c', -EUCLEAN},
		{"[D1]", 7, 1, '2', -EUCLEAN},
		{"[D2]", 8, 4, 0, -ENOTSUP},
		{"[D2]", 8, 4, 2, -ENOTSUP},
		{"[D3]", 12, 4, 0, -ENOTSUP},
		{"[D3]", 12, 4, 2, -ENOTSUP},
		{"[D4]", 16, 8, 0, -EUCLEAN},
		{"[D4]", 16, 8, 4095, -EUCLEAN},
		{"[D4]", 16, 8, 4097, -EUCLEAN},
		{"[D4]", 16, 8, 1ull << 44, -EUCLEAN},
		{"[D4]", 16, 8, 1ull << 63, -EUCLEAN},
		{"[D5]", 24, 4, 0, -EUCLEAN},
		{"[D5]", 24, 4, 1, -EUCLEAN},
		{"[D5]", 24, 4, (1u << 30) + 1, -EUCLEAN},
		{"[D5]", 24, 4, UINT32_MAX, -EUCLEAN},
		{"[D6]", 28, 4, 0, -EUCLEAN},
		{"[D6]", 28, 4, 1, -EUCLEAN},
		{"[D6]", 28, 4, 129, -EUCLEAN},
		{"[D7]", 32, 4, 0, -EUCLEAN},
		{"[D7]", 32, 4, 2048, -EUCLEAN},
		{"[D7]", 32, 4, 4097, -EUCLEAN},
		{"[D7]", 32, 4, 3 << 12, -EUCLEAN},
		{"[D7]", 32, 4, 2 << 20, -EUCLEAN},
		{"[D8]", 36, 4, 0, -EUCLEAN},
		{"[D8]", 36, 4, 130, -EUCLEAN},
		{"[D9]", 40, 8, 0, -EUCLEAN},
		{"[D9]", 40, 8, 4 * 4096, -EUCLEAN},
		{"[D9]", 40, 8, 6 * 4096, -EUCLEAN},
		{"[D9]", 40, 8, UINT64_MAX, -EUCLEAN},
		{"[D9]", 24, 4, 128, -EUCLEAN}, /* another table, the same offset */
		{"[D11]", 176, 1, 1, -EUCLEAN},
		{"[D11]", 255, 1, 0x80, -EUCLEAN},
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++)
		check_breach(&breaches[i]);
}

Test(descriptor, takes_the_extremes)
{
	struct descriptor d = sample(), got;
	uint8_t raw[DESCRIPTOR_SIZE];
	struct err e;

	d.image_size = 4096;
	d.n_chunks = 2;
	d.n_blobs = 2;
	d.max_chunk_size = 4096;
	d.n_meta_chunks = 1;
	d.meta_offset = meta_offset_of(2);
	descriptor_encode(&d, raw);
	cr_assert_eq(descriptor_decode(&got, raw, &e), 0, "%s", e.text);
	d.image_size = (1ull << 44) - 4096;
	d.n_chunks = 1u << 30;
	d.n_blobs = 128;
	d.max_chunk_size = 1 << 20;
	d.n_meta_chunks = 1u << 30;
	d.meta_offset = meta_offset_of(1u << 30);
	descriptor_encode(&d, raw);
	cr_assert_eq(descriptor_decode(&got, raw, &e), 0, "%s", e.text);
}

Test(descriptor, refused_bytes_leave_the_output_alone)
{
	struct descriptor got = {.n_chunks = 77};
	uint8_t raw[DESCRIPTOR_SIZE] = {0};
	struct err e;

	cr_assert_eq(descriptor_decode(&got, raw, &e), -EUCLEAN);
	cr_assert_eq(got.n_chunks, 77);
}

Test(descriptor, sizes_of_table_and_tree)
{
	cr_assert_eq(chunk_table_size(1), 4096);
	cr_assert_eq(chunk_table_size(64), 4096);
	cr_assert_eq(chunk_table_size(65), 8192);
	cr_assert_eq(chunk_table_size(1u << 30), 1ull << 36);
	cr_assert_eq(hash_tree_blocks(1), 0);
	cr_assert_eq(hash_tree_blocks(2), 1);
	cr_assert_eq(hash_tree_blocks(128), 1);
	cr_assert_eq(hash_tree_blocks(129), 3);
	cr_assert_eq(hash_tree_blocks(16384), 129);
	cr_assert_eq(hash_tree_blocks(16385), 132); /* 129 + 2 + 1 */
	cr_assert_eq(meta_offset_of(64), 4096 + 4096);
	cr_assert_eq(meta_offset_of(65), 8192 + 4096 + 4096);
}
