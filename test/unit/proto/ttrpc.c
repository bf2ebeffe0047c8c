/* SPDX-License-Identifier: Apache-2.0
 * ttrpc's header and envelopes, against bytes worked out by hand from PROTOCOL.md and the encoding of
 * protocol buffers. */
#include "proto/ttrpc/ttrpc.h"
#include "proto/ttrpc/protobuf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(ttrpc, header_is_ten_bytes_big_endian)
{
	static const uint8_t raw[] = {0, 0, 1, 2, 0, 0, 0, 5, 1, 0};
	uint8_t again[TTRPC_HEADER_SIZE];
	struct ttrpc_header h;

	cr_assert_eq(ttrpc_header_decode(&h, raw, NULL), 0);
	cr_assert_eq(h.size, 258);
	cr_assert_eq(h.stream, 5);
	cr_assert_eq(h.type, TTRPC_REQUEST);
	ttrpc_header_encode(&h, again);
	cr_assert_arr_eq(again, raw, sizeof(raw));
}

Test(ttrpc, refuses_headers_that_cannot_be)
{
	static const struct {
		uint8_t raw[TTRPC_HEADER_SIZE];
		int error;
	} cases[] = {
		{{0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, -EPROTO}, /* type 0 */
		{{0, 0, 0, 0, 0, 0, 0, 1, 4, 0}, -EPROTO}, /* type 4 */
		{{0, 0, 0, 0, 0, 0, 0, 2, 1, 0}, -EPROTO}, /* a server's stream */
		{{0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0}, -E2BIG},
		{{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0}, -E2BIG},
	};
	struct ttrpc_header h;
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(ttrpc_header_decode(&h, cases[i].raw, &e), cases[i].error, "case %zu", i);
}

Test(ttrpc, reads_a_request)
{
	/* service "s.S", method "M", payload 01 02, timeout 300 ns, metadata {"k": "v"} */
	static const uint8_t raw[] =
		"\x0a\x03s.S\x12\x01M\x1a\x02\x01\x02\x20\xac\x02\x2a\x06\x0a\x01k\x12\x01v";
	struct ttrpc_request q;

	cr_assert_eq(ttrpc_request_decode(&q, raw, sizeof(raw) - 1, NULL), 0);
	cr_assert_str_eq(q.service, "s.S");
	cr_assert_str_eq(q.method, "M");
	cr_assert_eq(q.payload.left, 2);
	cr_assert_eq(q.payload.at[1], 2);
	cr_assert_eq(q.timeout_ns, 300);
}

Test(ttrpc, writes_the_request_that_it_reads)
{
	static const uint8_t want[] = "\x0a\x03s.S\x12\x01M\x1a\x02\x01\x02\x20\xac\x02";
	struct ttrpc_request q = {
		.service = "s.S", .method = "M", .payload = bytes_of("\x01\x02", 2), .timeout_ns = 300};
	struct buf b;

	buf_init(&b, 100);
	ttrpc_request_encode(&b, &q);
	cr_assert_eq(b.size, sizeof(want) - 1);
	cr_assert_arr_eq(b.data, want, b.size);
	buf_deinit(&b);
}

Test(ttrpc, reads_and_writes_a_failure)
{
	static const uint8_t want[] = "\x0a\x06\x08\x05\x12\x02no";
	struct ttrpc_response response = {.code = TTRPC_NOT_FOUND,
					  .words = "no",
					  .payload = bytes_of(NULL, 0)},
			      again;
	struct buf b;

	buf_init(&b, 1000);
	ttrpc_response_encode(&b, &response);
	cr_assert_eq(b.size, sizeof(want) - 1);
	cr_assert_arr_eq(b.data, want, b.size);
	cr_assert_eq(ttrpc_response_decode(&again, b.data, b.size, NULL), 0);
	cr_assert_eq(again.code, TTRPC_NOT_FOUND);
	cr_assert_str_eq(again.words, "no");
	buf_deinit(&b);
}

Test(ttrpc, a_failures_words_cannot_write_to_a_terminal)
{
	struct ttrpc_response response;

	cr_assert_eq(ttrpc_response_decode(&response, "\x0a\x05\x12\x03\x1b[m", 7, NULL), 0);
	cr_assert_str_eq(response.words, "?[m");
}

Test(ttrpc, refuses_requests_that_cannot_be)
{
	static const struct {
		const char *raw;
		size_t n;
		const char *what;
	} cases[] = {
		{"\x0a", 1, "no length"},
		{"\x0a\x05"
		 "xy",
		 4, "text past the end"},
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "a length of 2^64 - 1"},
		{"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "a varint of 65 bits"},
		{"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12, "a varint of eleven bytes"},
		{"\x08\x01", 2, "a service that is a number"},
		{"\x18\x01", 2, "a payload that is a number"},
		{"\x22\x00", 2, "a timeout that is text"},
		{"\x02\x00", 2, "field number 0"},
		{"\x0b", 1, "a group"},
		{"\x0a\x03"
		 "a\0b",
		 5, "a NUL in a name"},
		{"\x0a\x02"
		 "\x1b[",
		 4, "a control character in a name"},
	};
	struct ttrpc_request q;
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(ttrpc_request_decode(&q, cases[i].raw, cases[i].n, &e), -EPROTO, "%s",
			     cases[i].what);
}

Test(ttrpc, refuses_a_name_that_is_too_long)
{
	struct ttrpc_request q;
	struct buf b;

	buf_init(&b, 1000);
	buf_u8(&b, 0x0a);
	buf_u8(&b, TTRPC_NAME_SIZE - 1);
	for (int i = 0; i < TTRPC_NAME_SIZE - 1; i++)
		buf_u8(&b, 'a');
	cr_assert_eq(ttrpc_request_decode(&q, b.data, b.size, NULL), 0);
	cr_assert_eq(strlen(q.service), TTRPC_NAME_SIZE - 1);
	buf_deinit(&b);
	protobuf_put_bytes(&b, 1, "", 0);
	buf_deinit(&b);
	buf_u8(&b, 0x0a);
	buf_u8(&b, 0x80);
	buf_u8(&b, 0x01);
	for (int i = 0; i < TTRPC_NAME_SIZE; i++)
		buf_u8(&b, 'a');
	cr_assert_eq(ttrpc_request_decode(&q, b.data, b.size, NULL), -E2BIG);
	buf_deinit(&b);
}

Test(ttrpc, passes_over_what_it_does_not_know)
{
	/* field 100: a varint, a fixed64, bytes, a fixed32 */
	static const uint8_t raw[] = "\xa0\x06\x01\xa1\x06"
				     "12345678"
				     "\xa2\x06\x01x\xa5\x06"
				     "1234"
				     "\x0a\x01s";
	struct ttrpc_request q;

	cr_assert_eq(ttrpc_request_decode(&q, raw, sizeof(raw) - 1, NULL), 0);
	cr_assert_str_eq(q.service, "s");
}
