/* SPDX-License-Identifier: Apache-2.0
 * Sealing and opening at the edges: sizes, aliasing, a struct that is used again after a failure. */
#include "crypto/aead_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static struct aead *a;
static const struct secret key = {{7, 7, 7}};

static void set_up(void)
{
	cr_assert_eq(aead_new(&a), 0);
}

static void tear_down(void)
{
	aead_free(a);
}

TestSuite(aead, .init = set_up, .fini = tear_down);

Test(aead, opens_what_it_seals_at_every_small_size)
{
	uint8_t m[70], sealed[70 + AEAD_TAG_SIZE], out[70];

	for (size_t n = 0; n <= sizeof(m); n++) {
		memset(m, (int)n, sizeof(m));
		cr_assert_eq(aead_seal(a, sealed, m, n, &key), 0);
		cr_assert(n < 16 || memcmp(sealed, m, n) != 0);
		cr_assert_eq(aead_open(a, out, sealed, n + AEAD_TAG_SIZE, &key), 0);
		cr_assert_eq(memcmp(out, m, n), 0);
	}
}

Test(aead, works_in_place)
{
	size_t n = (1 << 20) + 3;
	uint8_t *buf = malloc(n + AEAD_TAG_SIZE);

	cr_assert_not_null(buf);
	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)(i >> 3);
	cr_assert_eq(aead_seal(a, buf, buf, n, &key), 0);
	cr_assert_eq(aead_open(a, buf, buf, n + AEAD_TAG_SIZE, &key), 0);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(buf[i], (uint8_t)(i >> 3));
	free(buf);
}

Test(aead, failure_does_not_spoil_the_next)
{
	uint8_t sealed[20 + AEAD_TAG_SIZE], out[20];

	cr_assert_eq(aead_seal(a, sealed, (const uint8_t *)"twenty bytes of text", 20, &key), 0);
	sealed[3] ^= 1;
	cr_assert_eq(aead_open(a, out, sealed, sizeof(sealed), &key), -EBADMSG);
	sealed[3] ^= 1;
	cr_assert_eq(aead_open(a, out, sealed, sizeof(sealed), &key), 0);
	cr_assert_eq(memcmp(out, "twenty bytes of text", 20), 0);
}

Test(aead, another_key_opens_nothing)
{
	const struct secret other = {{7, 7, 8}};
	uint8_t sealed[20 + AEAD_TAG_SIZE], out[20];

	cr_assert_eq(aead_seal(a, sealed, (const uint8_t *)"twenty bytes of text", 20, &key), 0);
	cr_assert_eq(aead_open(a, out, sealed, sizeof(sealed), &other), -EBADMSG);
}

Test(aead, sizes_that_openssl_cannot_count_are_refused)
{
	static const uint8_t nonce[AEAD_NONCE_SIZE];
	const size_t over = (size_t)INT_MAX + 1;
	uint8_t out[AEAD_TAG_SIZE] = {0xee};

	cr_assert_eq(aead_seal(a, out, out, over - AEAD_TAG_SIZE, &key), -EINVAL);
	cr_assert_eq(aead_seal_with(a, out, out, 0, &key, nonce, out, over), -EINVAL);
	cr_assert_eq(aead_open(a, out, out, over, &key), -EBADMSG);
	cr_assert_eq(aead_open_with(a, out, out, AEAD_TAG_SIZE, &key, nonce, out, over), -EBADMSG);
	cr_assert_eq(out[0], 0xee);
}

Test(aead, free_takes_null)
{
	aead_free(NULL);
}
