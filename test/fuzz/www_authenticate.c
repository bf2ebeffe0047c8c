/* SPDX-License-Identifier: Apache-2.0
 * A WWW-Authenticate header: a challenge is one that we can answer, and its texts are printable. */
#include "chunkstore/http_headers.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>

static void check_text(const char *text, size_t room)
{
	size_t n = 0;

	for (; n < room && text[n]; n++)
		fuzz_assert(text[n] >= 0x20 && text[n] <= 0x7e);
	fuzz_assert(n < room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_challenge c;
	int r = http_challenge_decode(&c, (const char *)data, size);

	fuzz_assert(r == 0 || r == -EINVAL || r == -ENOTSUP);
	if (r == 0) {
		fuzz_assert(c.scheme == HTTP_AUTH_BASIC || (c.scheme == HTTP_AUTH_BEARER && c.realm[0]));
		check_text(c.realm, sizeof(c.realm));
		check_text(c.service, sizeof(c.service));
	}
	return 0;
}
