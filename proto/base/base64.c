/* SPDX-License-Identifier: Apache-2.0
 * Base64 by groups: three bytes against four characters. What a guest decodes may be a key, so decoding asks
 * no table and takes no branch by what the characters are, but whether they are of the alphabet. */
#include "proto/base/base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char letters[2][65] = {
	[BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	[BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* 1 when low <= c <= high, otherwise 0: the top bit of two differences. */
static unsigned within(unsigned c, char low, char high)
{
	return (((unsigned)low - 1 - c) & (c - (unsigned)high - 1)) >> 31;
}

/* At most one of the terms is not 0. -1: not in the alphabet. */
static int value_of(enum base64_kind kind, char letter)
{
	unsigned c = (unsigned char)letter;
	unsigned value_and_1 = within(c, 'A', 'Z') * (c - 'A' + 1) + within(c, 'a', 'z') * (c - 'a' + 27) +
			       within(c, '0', '9') * (c - '0' + 53) +
			       within(c, letters[kind][62], letters[kind][62]) * 63 +
			       within(c, letters[kind][63], letters[kind][63]) * 64;

	return (int)value_and_1 - 1;
}

size_t base64_size(enum base64_kind kind, size_t n)
{
	if (kind == BASE64_STANDARD)
		return (n + 2) / 3 * 4;
	return n / 3 * 4 + (n % 3 ? n % 3 + 1 : 0);
}

void base64_encode(struct buf *to, enum base64_kind kind, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n > 0) {
		size_t part = n < 3 ? n : 3;
		uint32_t group = (uint32_t)from[0] << 16;
		char out[4] = {'=', '=', '=', '='};

		if (part > 1)
			group |= (uint32_t)from[1] << 8;
		if (part > 2)
			group |= from[2];
		for (size_t i = 0; i <= part; i++)
			out[i] = letters[kind][group >> (18 - 6 * i) & 63];
		buf_put(to, out, kind == BASE64_STANDARD ? 4 : part + 1);
		from += part;
		n -= part;
	}
}

/* n is 2 to 4 characters without padding; they give n − 1 bytes. */
static int decode_group(struct buf *to, enum base64_kind kind, const char *text, size_t n)
{
	uint32_t group = 0;
	uint8_t out[3];

	for (size_t i = 0; i < n; i++) {
		int v = value_of(kind, text[i]);

		if (v < 0)
			return -EINVAL;
		group |= (uint32_t)v << (18 - 6 * i);
	}
	if (n < 4 && group & (0xffffffu >> (8 * (n - 1))))
		return -EINVAL;
	out[0] = (uint8_t)(group >> 16);
	out[1] = (uint8_t)(group >> 8);
	out[2] = (uint8_t)group;
	buf_put(to, out, n - 1);
	explicit_bzero(out, sizeof(out));
	return buf_failed(to) ? -E2BIG : 0;
}

int base64_decode(struct buf *to, enum base64_kind kind, const char *text, size_t n)
{
	if (kind == BASE64_STANDARD) {
		if (n % 4)
			return -EINVAL;
		for (int i = 0; i < 2 && n > 0 && text[n - 1] == '='; i++)
			n--;
	}
	if (n % 4 == 1)
		return -EINVAL;
	while (n > 0) {
		size_t part = n < 4 ? n : 4;
		int r = decode_group(to, kind, text, part);

		if (r < 0)
			return r;
		text += part;
		n -= part;
	}
	return 0;
}
