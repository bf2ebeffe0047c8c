/* SPDX-License-Identifier: Apache-2.0
 * The chunk header: both directions, and one breach of each condition [C1]…[C4], [C6] of FORMAT.md §6. [C5]
 * is about the zstd frame and belongs to who decompresses. */
#include "proto/format/chunk_header.h"
#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define M_SIZE 100u

/* A zstd payload of 50 bytes that stands for 4096, then padding. */
static void sample(uint8_t m[static M_SIZE])
{
	struct chunk_header h = {CHUNK_CODEC_ZSTD, 50, 4096};

	memset(m, 0, M_SIZE);
	chunk_header_encode(&h, m);
	memset(m + CHUNK_HEADER_SIZE, 0x5a, 50);
}

Test(chunk_header, decodes_what_it_encodes)
{
	struct chunk_header got;
	uint8_t m[M_SIZE], again[CHUNK_HEADER_SIZE];
	struct err e;

	sample(m);
	cr_assert_eq(m[0], 1);
	cr_assert_eq(get_le32(m + 4), 50);
	cr_assert_eq(get_le32(m + 8), 4096);
	cr_assert_eq(chunk_header_decode(&got, m, sizeof(m), 4096, &e), 0, "%s", e.text);
	cr_assert_eq(got.codec, CHUNK_CODEC_ZSTD);
	cr_assert_eq(got.payload_size, 50);
	cr_assert_eq(got.plain_size, 4096);
	chunk_header_encode(&got, again);
	cr_assert_arr_eq(m, again, sizeof(again));
}

Test(chunk_header, takes_raw_payload_without_padding)
{
	struct chunk_header h = {CHUNK_CODEC_RAW, 84, 84}, got;
	uint8_t m[M_SIZE];
	struct err e;

	memset(m, 0xff, sizeof(m));
	chunk_header_encode(&h, m);
	cr_assert_eq(chunk_header_decode(&got, m, sizeof(m), 4096, &e), 0, "%s", e.text);
	cr_assert_eq(got.codec, CHUNK_CODEC_RAW);
}

Test(chunk_header, refuses_every_breach)
{
	static const struct {
		const char *rule;
		size_t offset, size;
		uint32_t value;
	} breaches[] = {
		{"[C1]", 0, 1, 2},
		{"[C1]", 0, 1, 255},
		{"[C2]", 1, 1, 1},
		{"[C2]", 3, 1, 1},
		{"[C2]", 12, 4, 1},
		{"[C2]", 15, 1, 0x80},
		{"[C3]", 4, 4, 0},
		{"[C3]", 4, 4, 85},
		{"[C3]", 4, 4, UINT32_MAX},
		{"[C3]", 0, 1, 0}, /* raw, but 50 bytes for 4096 */
		{"[C4]", 8, 4, 0},
		{"[C4]", 8, 4, 4097},
		{"[C4]", 8, 4, UINT32_MAX},
		{"[C6]", 66, 1, 1},
		{"[C6]", 99, 1, 1},
		{"[C6]", 4, 4, 49}, /* the last byte of the payload becomes padding */
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
		struct chunk_header got = {.plain_size = 77};
		uint8_t m[M_SIZE];
		struct err e;

		sample(m);
		if (breaches[i].size == 1)
			m[breaches[i].offset] = (uint8_t)breaches[i].value;
		else
			put_le32(m + breaches[i].offset, breaches[i].value);
		cr_assert_eq(chunk_header_decode(&got, m, sizeof(m), 4096, &e), -EUCLEAN, "breach %zu", i);
		cr_assert_not_null(strstr(e.text, breaches[i].rule), "breach %zu: %s", i, e.text);
		cr_assert_eq(got.plain_size, 77, "written although refused");
	}
}

Test(chunk_header, refuses_every_truncation)
{
	uint8_t m[M_SIZE];

	sample(m);
	for (size_t n = 0; n < CHUNK_HEADER_SIZE + 50; n++) {
		struct chunk_header got;
		struct err e;

		cr_assert_eq(chunk_header_decode(&got, m, n, 4096, &e), -EUCLEAN, "%zu bytes", n);
	}
}
