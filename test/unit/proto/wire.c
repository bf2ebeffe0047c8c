/* SPDX-License-Identifier: Apache-2.0
 * The wire's messages in both directions, and everything that ends a connection. */
#include "proto/wire/wire.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define N(a) (sizeof(a) / sizeof((a)[0]))

Test(wire_header, decodes_what_it_encodes)
{
	const struct wire_header h = {WIRE_MAX_PAYLOAD, WIRE_CHUNKS, WIRE_UNAVAILABLE, 0x0102030405060708ull};
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header got;
	struct err e;

	wire_header_encode(&h, raw);
	cr_assert_eq(get_le32(raw), WIRE_MAX_PAYLOAD);
	cr_assert_eq(get_le16(raw + 4), 4);
	cr_assert_eq(get_le16(raw + 6), 2);
	cr_assert_eq(get_le64(raw + 8), h.id);
	cr_assert_eq(wire_header_decode(&got, raw, false, &e), 0, "%s", e.text);
	cr_assert_eq(got.size, h.size);
	cr_assert_eq(got.type, h.type);
	cr_assert_eq(got.status, h.status);
	cr_assert_eq(got.id, h.id);
}

Test(wire_header, refuses_what_ends_the_connection)
{
	static const struct {
		const char *what;
		uint32_t size;
		uint16_t type, status;
		uint64_t id;
		bool request;
	} bad[] = {
		{"a byte too long", WIRE_MAX_PAYLOAD + 1, 4, 0, 1, false},
		{"2^31 - 1", INT32_MAX, 4, 0, 1, false},
		{"2^32 - 1", UINT32_MAX, 4, 0, 1, false},
		{"type 0", 0, 0, 0, 1, false},
		{"type 5", 0, 5, 0, 1, false},
		{"type 257", 0, 257, 0, 1, false},
		{"status 8", 0, 1, 8, 1, false},
		{"status 65535", 0, 1, 65535, 1, false},
		{"request with a status", 0, 1, 1, 1, true},
		{"id 0", 0, 1, 0, 0, true},
		{"id 0 in an answer", 0, 1, 0, 0, false},
	};

	for (size_t i = 0; i < N(bad); i++) {
		struct wire_header got = {.id = 77};
		uint8_t raw[WIRE_HEADER_SIZE];

		put_le32(raw, bad[i].size);
		put_le16(raw + 4, bad[i].type);
		put_le16(raw + 6, bad[i].status);
		put_le64(raw + 8, bad[i].id);
		cr_assert_eq(wire_header_decode(&got, raw, bad[i].request, NULL), -EPROTO, "%s", bad[i].what);
		cr_assert_eq(got.id, 77);
	}
}

Test(wire_header, http_and_tls_on_the_port_are_refused)
{
	struct wire_header got;

	cr_assert_eq(wire_header_decode(&got, (const uint8_t *)"GET / HTTP/1.1\r\n", true, NULL), -EPROTO);
	cr_assert_eq(wire_header_decode(&got,
					(const uint8_t *)"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03....",
					true, NULL),
		     -EPROTO);
}

Test(wire_hello, both_directions)
{
	cleanup_buf struct buf b;
	struct err e;
	uint32_t max;

	buf_init(&b, 100);
	wire_hello_encode(&b);
	cr_assert_eq(b.size, 16);
	cr_assert_eq(memcmp(b.data, "COCOONW1\1\0\0\0\0\0\0\0", 16), 0);
	cr_assert_eq(wire_hello_decode(b.data, b.size, &e), 0, "%s", e.text);
	buf_deinit(&b);
	wire_welcome_encode(&b, 4096);
	cr_assert_eq(b.size, 16);
	cr_assert_eq(wire_welcome_decode(&max, b.data, b.size, &e), 0, "%s", e.text);
	cr_assert_eq(max, 4096);
}

Test(wire_hello, refuses_strangers_and_other_versions)
{
	cleanup_buf struct buf b;
	uint32_t max = 77;

	buf_init(&b, 100);
	wire_hello_encode(&b);
	for (size_t n = 0; n < b.size; n++)
		cr_assert_eq(wire_hello_decode(b.data, n, NULL), -EPROTO, "%zu bytes", n);
	b.data[8] = 2;
	cr_assert_eq(wire_hello_decode(b.data, b.size, NULL), -ENOTSUP);
	b.data[8] = 1;
	b.data[15] = 1;
	cr_assert_eq(wire_hello_decode(b.data, b.size, NULL), -EPROTO, "reserved");
	b.data[15] = 0;
	b.data[0] = 'c';
	cr_assert_eq(wire_hello_decode(b.data, b.size, NULL), -EPROTO, "magic");
	b.data[0] = 'C';
	buf_u8(&b, 0);
	cr_assert_eq(wire_hello_decode(b.data, b.size, NULL), -EPROTO, "trailing byte");

	buf_deinit(&b);
	wire_welcome_encode(&b, 0);
	cr_assert_eq(wire_welcome_decode(&max, b.data, b.size, NULL), -EPROTO, "no request allowed");
	buf_deinit(&b);
	wire_welcome_encode(&b, 65537);
	cr_assert_eq(wire_welcome_decode(&max, b.data, b.size, NULL), -EPROTO, "too many");
	buf_deinit(&b);
	wire_welcome_encode(&b, 1);
	for (size_t n = 0; n < b.size; n++)
		cr_assert_eq(wire_welcome_decode(&max, b.data, n, NULL), -EPROTO, "%zu bytes", n);
	b.data[8] = 9;
	cr_assert_eq(wire_welcome_decode(&max, b.data, b.size, NULL), -ENOTSUP);
	cr_assert_eq(max, 77);
}

Test(wire_open, both_directions)
{
	static const char name[] = "registry.example/app:1";
	cleanup_buf struct buf b;
	const char *got;
	size_t n;

	buf_init(&b, 100);
	wire_open_encode(&b, name, strlen(name));
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), 0);
	cr_assert_eq(n, strlen(name));
	cr_assert_eq(memcmp(got, name, n), 0);
}

Test(wire_open, refuses_names_that_are_none)
{
	char longest[WIRE_MAX_REFERENCE + 1];
	cleanup_buf struct buf b;
	const char *got;
	size_t n;

	memset(longest, 'a', sizeof(longest));
	buf_init(&b, 4096);
	wire_open_encode(&b, longest, WIRE_MAX_REFERENCE);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), 0);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size - 1, NULL), -EPROTO, "cut");
	buf_u8(&b, 'a');
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), -EPROTO, "trailing byte");
	buf_deinit(&b);
	wire_open_encode(&b, longest, WIRE_MAX_REFERENCE + 1);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), -EPROTO, "too long");
	buf_deinit(&b);
	wire_open_encode(&b, "", 0);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), -EPROTO, "empty");
	buf_deinit(&b);
	wire_open_encode(&b, "a\0b", 3);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), -EPROTO, "NUL");
	cr_assert_eq(wire_open_decode(&got, &n, b.data, 3, NULL), -EPROTO, "no length");
	put_le32(b.data, UINT32_MAX);
	cr_assert_eq(wire_open_decode(&got, &n, b.data, b.size, NULL), -EPROTO, "length 2^32 - 1");
}

static void sample_opened(struct buf *to, uint32_t manifest_size)
{
	static uint8_t manifest[MAX_MANIFEST_SIZE + 1], descriptor[DESCRIPTOR_SIZE];
	struct wire_opened o = {5, manifest, manifest_size, descriptor};

	memset(manifest, '{', sizeof(manifest));
	memset(descriptor, 'd', sizeof(descriptor));
	buf_init(to, 2 << 20);
	wire_opened_encode(to, &o);
}

Test(wire_opened, both_directions)
{
	cleanup_buf struct buf b;
	struct wire_opened got;

	sample_opened(&b, MAX_MANIFEST_SIZE);
	cr_assert_eq(wire_opened_decode(&got, b.data, b.size, NULL), 0);
	cr_assert_eq(got.handle, 5);
	cr_assert_eq(got.manifest_size, MAX_MANIFEST_SIZE);
	cr_assert_eq(got.manifest, b.data + 8);
	cr_assert_eq(got.descriptor, b.data + 8 + MAX_MANIFEST_SIZE);
	cr_assert_leq(b.size, WIRE_MAX_PAYLOAD, "the largest answer fits a frame");
}

Test(wire_opened, refuses_sizes_that_do_not_add_up)
{
	struct wire_opened got = {.handle = 77};
	cleanup_buf struct buf b;

	sample_opened(&b, 100);
	for (size_t n = 0; n < b.size; n++)
		cr_assert_eq(wire_opened_decode(&got, b.data, n, NULL), -EPROTO, "%zu bytes", n);
	buf_u8(&b, 0);
	cr_assert_eq(wire_opened_decode(&got, b.data, b.size, NULL), -EPROTO, "trailing byte");
	put_le32(b.data + 4, UINT32_MAX);
	cr_assert_eq(wire_opened_decode(&got, b.data, b.size, NULL), -EPROTO, "length 2^32 - 1");
	buf_deinit(&b);
	sample_opened(&b, 0);
	cr_assert_eq(wire_opened_decode(&got, b.data, b.size, NULL), -EPROTO, "no manifest");
	buf_deinit(&b);
	sample_opened(&b, MAX_MANIFEST_SIZE + 1);
	cr_assert_eq(wire_opened_decode(&got, b.data, b.size, NULL), -EPROTO, "manifest over 1 MiB");
	cr_assert_eq(got.handle, 77);
}

Test(wire_index, both_directions_and_limits)
{
	struct wire_index q = {3, WIRE_MAX_INDEX_READ, UINT64_MAX}, got = {.handle = 77};
	cleanup_buf struct buf b;

	buf_init(&b, 100);
	wire_index_encode(&b, &q);
	cr_assert_eq(b.size, 16);
	cr_assert_eq(wire_index_decode(&got, b.data, b.size, NULL), 0);
	cr_assert_eq(got.handle, 3);
	cr_assert_eq(got.length, WIRE_MAX_INDEX_READ);
	cr_assert_eq(got.offset, UINT64_MAX, "the range is the server's to check, it knows meta_offset");
	for (size_t n = 0; n < b.size; n++)
		cr_assert_eq(wire_index_decode(&got, b.data, n, NULL), -EPROTO);
	buf_u8(&b, 0);
	cr_assert_eq(wire_index_decode(&got, b.data, b.size, NULL), -EPROTO);
	put_le32(b.data + 4, 0);
	cr_assert_eq(wire_index_decode(&got, b.data, 16, NULL), -EPROTO, "nothing asked");
	put_le32(b.data + 4, WIRE_MAX_INDEX_READ + 1);
	cr_assert_eq(wire_index_decode(&got, b.data, 16, NULL), -EPROTO, "too much asked");
}

Test(wire_chunks, both_directions)
{
	struct wire_chunks q = {.handle = 9,
				.ahead = true,
				.n_runs = 2,
				.runs = {{0, 255}, {4000000000u, 1}}},
			   got;
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	wire_chunks_encode(&b, &q);
	cr_assert_eq(b.size, 12 + 16);
	cr_assert_eq(wire_chunks_decode(&got, b.data, b.size, NULL), 0);
	cr_assert_eq(got.handle, 9);
	cr_assert(got.ahead);
	cr_assert_eq(got.n_runs, 2);
	cr_assert_eq(got.runs[0].count, 255);
	cr_assert_eq(got.runs[1].first, 4000000000u);
}

Test(wire_chunks, refuses_what_is_over_the_limits)
{
	static const struct {
		const char *what;
		uint32_t flags, n, payload_runs;
		struct wire_run runs[2];
	} bad[] = {
		{"unknown flag", 2, 1, 1, {{0, 1}}},
		{"all flags", UINT32_MAX, 1, 1, {{0, 1}}},
		{"no range", 0, 0, 0, {{0, 0}}},
		{"ranges that are not there", 0, 2, 1, {{0, 1}}},
		{"2^32 - 1 ranges", 0, UINT32_MAX, 1, {{0, 1}}},
		{"bytes behind", 0, 1, 2, {{0, 1}, {0, 1}}},
		{"empty range", 0, 2, 2, {{0, 1}, {5, 0}}},
		{"257 chunks in one", 0, 1, 1, {{0, 257}}},
		{"257 chunks in two", 0, 2, 2, {{0, 256}, {0, 1}}},
		{"sum that wraps", 0, 2, 2, {{0, UINT32_MAX}, {0, 2}}},
		{"numbers past 2^32", 0, 1, 1, {{UINT32_MAX, 1}}},
	};

	for (size_t i = 0; i < N(bad); i++) {
		struct wire_chunks got;
		cleanup_buf struct buf b;

		buf_init(&b, 100);
		buf_le32(&b, 1);
		buf_le32(&b, bad[i].flags);
		buf_le32(&b, bad[i].n);
		for (uint32_t k = 0; k < bad[i].payload_runs; k++) {
			buf_le32(&b, bad[i].runs[k].first);
			buf_le32(&b, bad[i].runs[k].count);
		}
		cr_assert_eq(wire_chunks_decode(&got, b.data, b.size, NULL), -EPROTO, "%s", bad[i].what);
	}
}

Test(wire_chunks, takes_64_ranges_and_not_65)
{
	struct wire_chunks q = {.n_runs = WIRE_MAX_RUNS}, got;
	cleanup_buf struct buf b;

	for (uint32_t i = 0; i < WIRE_MAX_RUNS; i++)
		q.runs[i] = (struct wire_run){i * 100, 4};
	buf_init(&b, 1024);
	wire_chunks_encode(&b, &q);
	cr_assert_eq(wire_chunks_decode(&got, b.data, b.size, NULL), 0);
	put_le32(b.data + 8, WIRE_MAX_RUNS + 1);
	buf_le64(&b, 1ull << 32);
	cr_assert_eq(wire_chunks_decode(&got, b.data, b.size, NULL), -EPROTO);
}

Test(wire_chunk, gives_number_and_stored_bytes)
{
	static uint8_t frame[4 + MAX_STORED_SIZE + 1];
	const uint8_t *stored = NULL;
	uint32_t number;
	size_t n;

	put_le32(frame, 12);
	cr_assert_eq(wire_chunk_decode(&number, &stored, &n, frame, 4 + MIN_STORED_SIZE, NULL), 0);
	cr_assert_eq(number, 12);
	cr_assert_eq(stored, frame + 4);
	cr_assert_eq(n, MIN_STORED_SIZE);
	cr_assert_eq(wire_chunk_decode(&number, &stored, &n, frame, 4 + MAX_STORED_SIZE, NULL), 0);
	cr_assert_leq(4 + MAX_STORED_SIZE, WIRE_MAX_PAYLOAD, "the largest chunk fits a frame");
	for (size_t size = 0; size < 4 + MIN_STORED_SIZE; size++)
		cr_assert_eq(wire_chunk_decode(&number, &stored, &n, frame, size, NULL), -EPROTO, "%zu",
			     size);
	cr_assert_eq(wire_chunk_decode(&number, &stored, &n, frame, 4 + MAX_STORED_SIZE + 1, NULL), -EPROTO);
}

Test(wire_failure, both_directions_with_words_made_printable)
{
	char words[WIRE_MAX_WORDS + 100];
	struct wire_failure got;
	cleanup_buf struct buf b;

	buf_init(&b, 1024);
	wire_failure_encode(&b, 42, "disk\033 full\n");
	cr_assert_eq(wire_failure_decode(&got, b.data, b.size, NULL), 0);
	cr_assert_eq(got.chunk, 42);
	cr_assert_str_eq(got.words, "disk? full?");
	buf_deinit(&b);
	memset(words, 'w', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	wire_failure_encode(&b, 1, words);
	cr_assert_eq(b.size, 4 + WIRE_MAX_WORDS);
	cr_assert_eq(wire_failure_decode(&got, b.data, b.size, NULL), 0);
	cr_assert_eq(strlen(got.words), WIRE_MAX_WORDS);
	buf_u8(&b, 'w');
	cr_assert_eq(wire_failure_decode(&got, b.data, b.size, NULL), -EPROTO, "more words than allowed");
	cr_assert_eq(wire_failure_decode(&got, b.data, 3, NULL), -EPROTO, "no number");
	cr_assert_eq(wire_failure_decode(&got, b.data, 4, NULL), 0, "no words are fine");
	cr_assert_str_eq(got.words, "");
}

Test(wire_status, each_has_its_errno)
{
	cr_assert_eq(wire_status_errno(WIRE_OK), 0);
	cr_assert_eq(wire_status_errno(WIRE_NOT_FOUND), -ENOENT);
	cr_assert_eq(wire_status_errno(WIRE_UNAVAILABLE), -EAGAIN);
	cr_assert_eq(wire_status_errno(WIRE_DENIED), -EACCES);
	cr_assert_eq(wire_status_errno(WIRE_INVALID), -EPROTO);
	cr_assert_eq(wire_status_errno(WIRE_BUSY), -EAGAIN);
	cr_assert_eq(wire_status_errno(WIRE_INTERNAL), -EAGAIN);
	cr_assert_eq(wire_status_errno(WIRE_UNSUPPORTED), -ENOTSUP);
}
