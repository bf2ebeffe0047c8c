/* SPDX-License-Identifier: Apache-2.0
 * Digests as text and back. */
#include "proto/base/digest.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char prefix[] = "sha256:";
#define PREFIX_SIZE (sizeof(prefix) - 1)

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int digest_parse(struct digest *out, const char *text)
{
	struct digest d;

	if (strncmp(text, prefix, PREFIX_SIZE) != 0 || strlen(text) != DIGEST_TEXT_SIZE - 1)
		return -EINVAL;
	text += PREFIX_SIZE;
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		d.bytes[i] = (uint8_t)(high << 4 | low);
	}
	*out = d;
	return 0;
}

const char *digest_hex(const struct digest *d, char hex[static DIGEST_HEX_SIZE])
{
	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		hex[2 * i] = "0123456789abcdef"[d->bytes[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[d->bytes[i] & 15];
	}
	hex[DIGEST_HEX_SIZE - 1] = '\0';
	return hex;
}

const char *digest_text(const struct digest *d, char text[static DIGEST_TEXT_SIZE])
{
	memcpy(text, prefix, PREFIX_SIZE);
	(void)digest_hex(d, text + PREFIX_SIZE);
	return text;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}
