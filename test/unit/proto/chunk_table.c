/* SPDX-License-Identifier: Apache-2.0
 * Chunk table entries: both directions, and one breach of each condition [T1]…[T4] of FORMAT.md §4. */
#include "proto/format/chunk_table.h"
#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define META_OFFSET 12288u
#define INDEX_SIZE (META_OFFSET + 1000u + DESCRIPTOR_SIZE)

/* Two data blobs and the index; chunks 0 … 2 are metadata. */
static const struct descriptor image = {
	.n_chunks = 100,
	.n_blobs = 3,
	.n_meta_chunks = 3,
	.meta_offset = META_OFFSET,
};
static const uint64_t blob_sizes[] = {5000, 0, INDEX_SIZE};

static int decode(uint32_t number, const struct chunk_entry *c, struct chunk_entry *got, struct err *e)
{
	uint8_t raw[CHUNK_ENTRY_SIZE];

	chunk_entry_encode(c, raw);
	return chunk_entry_decode(got, number, raw, &image, blob_sizes, e);
}

Test(chunk_table, decodes_what_it_encodes)
{
	struct chunk_entry c = {.offset = 900, .stored_size = 4100, .blob = 0}, got;
	uint8_t raw[CHUNK_ENTRY_SIZE];
	struct err e;

	memset(c.id.bytes, 0xab, DIGEST_SIZE);
	chunk_entry_encode(&c, raw);
	cr_assert_eq(raw[0], 0xab);
	cr_assert_eq(get_le64(raw + 32), 900);
	cr_assert_eq(get_le32(raw + 40), 4100);
	cr_assert_eq(get_le32(raw + 44), 0);
	for (int i = 48; i < 64; i++)
		cr_assert_eq(raw[i], 0);
	cr_assert_eq(chunk_entry_decode(&got, 3, raw, &image, blob_sizes, &e), 0, "%s", e.text);
	cr_assert(digest_equal(&got.id, &c.id));
	cr_assert_eq(got.offset, c.offset);
	cr_assert_eq(got.stored_size, c.stored_size);
	cr_assert_eq(got.blob, c.blob);
}

Test(chunk_table, refuses_every_breach)
{
	static const struct {
		const char *rule, *what;
		uint32_t number;
		struct chunk_entry c;
	} breaches[] = {
		{"[T1]", "nothing stored", 3, {.stored_size = 0}},
		{"[T1]", "shorter than header, byte and tag", 3, {.stored_size = 32}},
		{"[T1]", "longer than any chunk", 3, {.stored_size = MAX_STORED_SIZE + 1}},
		{"[T2]", "blob past the last", 3, {.stored_size = 33, .blob = 3}},
		{"[T2]", "blob far past the last", 3, {.stored_size = 33, .blob = UINT32_MAX}},
		{"[T2]", "data chunk in the index", 3, {.stored_size = 33, .blob = 2, .offset = META_OFFSET}},
		{"[T2]", "metadata chunk in a data blob", 2, {.stored_size = 33, .blob = 0}},
		{"[T2]", "root chunk in a data blob", 0, {.stored_size = 33, .blob = 1}},
		{"[T4]", "one byte past the end", 3, {.stored_size = 33, .offset = 5000 - 32}},
		{"[T4]", "in an empty blob", 3, {.stored_size = 33, .blob = 1}},
		{"[T4]", "sum past 2^64", 3, {.stored_size = 33, .offset = UINT64_MAX - 10}},
		{"[T4]", "before the metadata", 0, {.stored_size = 33, .blob = 2, .offset = META_OFFSET - 1}},
		{"[T4]",
		 "into the descriptor",
		 0,
		 {.stored_size = 33, .blob = 2, .offset = META_OFFSET + 1000 - 32}},
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
		struct chunk_entry got = {.blob = 77};
		struct err e;

		cr_assert_eq(decode(breaches[i].number, &breaches[i].c, &got, &e), -EUCLEAN, "%s",
			     breaches[i].what);
		cr_assert_not_null(strstr(e.text, breaches[i].rule), "%s: %s", breaches[i].what, e.text);
		cr_assert_eq(got.blob, 77, "written although refused");
	}
}

Test(chunk_table, refuses_reserved_bytes)
{
	struct chunk_entry c = {.stored_size = 33}, got;

	for (int i = 48; i < 64; i++) {
		uint8_t raw[CHUNK_ENTRY_SIZE];
		struct err e;

		chunk_entry_encode(&c, raw);
		raw[i] = 1;
		cr_assert_eq(chunk_entry_decode(&got, 3, raw, &image, blob_sizes, &e), -EUCLEAN);
		cr_assert_not_null(strstr(e.text, "[T3]"));
	}
}

Test(chunk_table, takes_what_just_fits)
{
	struct chunk_entry got, data = {.stored_size = 33, .offset = 5000 - 33};
	struct chunk_entry meta = {.stored_size = 1000, .blob = 2, .offset = META_OFFSET};
	struct err e;

	cr_assert_eq(decode(3, &data, &got, &e), 0, "%s", e.text);
	cr_assert_eq(decode(0, &meta, &got, &e), 0, "%s", e.text);
	cr_assert_eq(decode(2, &meta, &got, &e), 0, "%s", e.text);
}

Test(chunk_table, index_shorter_than_a_descriptor_holds_nothing)
{
	static const uint64_t short_index[] = {5000, 0, 255};
	struct chunk_entry c = {.stored_size = 33, .blob = 2, .offset = META_OFFSET}, got;
	uint8_t raw[CHUNK_ENTRY_SIZE];
	struct err e;

	chunk_entry_encode(&c, raw);
	cr_assert_eq(chunk_entry_decode(&got, 0, raw, &image, short_index, &e), -EUCLEAN);
	cr_assert_not_null(strstr(e.text, "[T4]"));
}
