/* SPDX-License-Identifier: Apache-2.0
 * Requests as bytes: what protobuf-c would take and must not be taken, and how much memory a small message
 * may cost. */
#include "snapshotter/message.h"

#include "proto/containerd/snapshots.pb-c.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

typedef Containerd__Services__Snapshots__V1__PrepareSnapshotRequest prepare_request;

static const ProtobufCMessageDescriptor *const type =
	&containerd__services__snapshots__v1__prepare_snapshot_request__descriptor;

static int decode(const void *bytes, size_t n, size_t budget)
{
	ProtobufCMessage *m = NULL;
	struct arena a;
	int r;

	arena_init(&a, budget);
	r = message_decode(&m, type, bytes, n, &a, NULL);
	arena_deinit(&a);
	return r;
}

#define CASE(text)                                                                                           \
	{                                                                                                    \
		text, sizeof(text) - 1                                                                       \
	}

Test(message, takes_text_labels_and_unknown_fields)
{
	/* key "k", a label {a: b}, the same label again, an unknown field of each wire type */
	static const char bytes[] =
		"\x12\x01k"
		"\x22\x06\x0a\x01"
		"a\x12\x01"
		"b"
		"\x22\x06\x0a\x01"
		"a\x12\x01"
		"c"
		"\x78\x05\x7a\x01x\x7d\x01\x02\x03\x04\x79\x01\x02\x03\x04\x05\x06\x07\x08";
	ProtobufCMessage *m;
	const prepare_request *request;
	struct arena a;

	arena_init(&a, 1u << 16);
	cr_assert_eq(message_decode(&m, type, bytes, sizeof(bytes) - 1, &a, NULL), 0);
	request = (const prepare_request *)m;
	cr_assert_str_eq(request->key, "k");
	cr_assert_str_eq(request->parent, "");
	cr_assert_eq(request->n_labels, 2);
	cr_assert_str_eq(request->labels[1]->value, "c");
	arena_deinit(&a);
}

Test(message, takes_nothing_as_an_empty_message)
{
	cr_assert_eq(decode("", 0, 4096), -E2BIG); /* a page of the arena and its header are more than that */
	cr_assert_eq(decode("", 0, 8192), 0);
}

Test(message, refuses)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
		CASE("\x12\x03k\0k"),		  /* NUL */
		CASE("\x12\x01\x80"),		  /* a continuation byte alone */
		CASE("\x12\x02\xc0\xaf"),	  /* overlong */
		CASE("\x12\x03\xe0\x80\xaf"),	  /* overlong */
		CASE("\x12\x03\xed\xa0\x80"),	  /* a surrogate */
		CASE("\x12\x04\xf4\x90\x80\x80"), /* beyond U+10FFFF */
		CASE("\x12\x02\xe2\x82"),	  /* cut off */
		CASE("\x12\x01\xff"),
		CASE("\x22\x05\x0a\x03"
		     "a\0b"),			      /* NUL in a label's key */
		CASE("\x22\x05\x12\x03\xf0\x9f\x98"), /* and bad text in its value */
		CASE("\x12\x05k"),		      /* a length past the end */
		CASE("\x12"),			      /* no length */
		CASE("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		CASE("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
		CASE("\x02\x01k"), /* field 0 */
		CASE("\x13\x01k"), /* wire type 3 */
		CASE("\x10\x01"),  /* a number where text belongs */
		CASE("\x0f"),	   /* wire type 7 */
		CASE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(decode(bad[i].bytes, bad[i].n, 1u << 20), -EINVAL, "case %zu", i);
}

Test(message, takes_all_of_unicode)
{
	static const char bytes[] = "\x12\x0c"
				    "\x7f\xc2\x80\xe0\xa0\x80\xef\xbf\xbf"
				    "abc";

	cr_assert_eq(decode(bytes, sizeof(bytes) - 1, 1u << 16), 0);
	cr_assert_eq(decode("\x12\x08\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 10, 1u << 16), 0);
	cr_assert_eq(decode("\x12\x06\xed\x9f\xbf\xee\x80\x80", 8, 1u << 16), 0);
}

/* Empty map entries cost two bytes on the wire and some hundred in memory. */
Test(message, stays_within_its_budget)
{
	enum { N = 1 << 20 };
	uint8_t *bytes = malloc(N);

	cr_assert_not_null(bytes);
	for (size_t i = 0; i < N; i += 2) {
		bytes[i] = 0x22;
		bytes[i + 1] = 0;
	}
	cr_assert_eq(decode(bytes, N, 4u << 20), -E2BIG);
	cr_assert_eq(decode(bytes, 1000, 4u << 20), 0);
	free(bytes);
}

Test(message, arena_aligns_and_refuses_overflow)
{
	struct arena a;

	arena_init(&a, 1u << 16);
	for (size_t n = 0; n < 64; n++) {
		uint8_t *p = arena_alloc(&a, n);

		cr_assert_not_null(p);
		cr_assert_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		memset(p, 0xff, n);
	}
	cr_assert_null(arena_alloc(&a, SIZE_MAX));
	cr_assert_null(arena_alloc(&a, SIZE_MAX - 8));
	cr_assert_null(arena_alloc(&a, 1u << 16));
	cr_assert_not_null(arena_alloc(&a, 1u << 14));
	arena_deinit(&a);
}
