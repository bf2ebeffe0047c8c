/* SPDX-License-Identifier: Apache-2.0
 * Digests as text: one spelling only. */
#include "proto/base/digest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const char text[] = "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

Test(digest, text_and_back)
{
	char out[DIGEST_TEXT_SIZE], hex[DIGEST_HEX_SIZE];
	struct digest d;

	cr_assert_eq(digest_parse(&d, text), 0);
	for (int i = 0; i < 31; i++)
		cr_assert_eq(d.bytes[i], i);
	cr_assert_eq(d.bytes[31], 0xff);
	cr_assert_str_eq(digest_text(&d, out), text);
	cr_assert_str_eq(digest_hex(&d, hex), text + 7);
}

Test(digest, refuses_other_spellings)
{
	char bad[128];
	struct digest d = {{7}};

	cr_assert_eq(digest_parse(&d, ""), -EINVAL);
	cr_assert_eq(digest_parse(&d, "sha256:"), -EINVAL);
	cr_assert_eq(digest_parse(&d, text + 7), -EINVAL);
	memcpy(bad, text, sizeof(text));
	bad[sizeof(text) - 2] = 'F'; /* upper case */
	cr_assert_eq(digest_parse(&d, bad), -EINVAL);
	memcpy(bad, text, sizeof(text));
	bad[20] = 'g';
	cr_assert_eq(digest_parse(&d, bad), -EINVAL);
	memcpy(bad, text, sizeof(text));
	bad[3] = '5'; /* another algorithm */
	cr_assert_eq(digest_parse(&d, bad), -EINVAL);
	memcpy(bad, text, sizeof(text));
	bad[sizeof(text) - 2] = '\0'; /* one short */
	cr_assert_eq(digest_parse(&d, bad), -EINVAL);
	memcpy(bad, text, sizeof(text));
	memcpy(bad + sizeof(text) - 1, "0", 2); /* one long */
	cr_assert_eq(digest_parse(&d, bad), -EINVAL);
	cr_assert_eq(d.bytes[0], 7, "written although refused");
}

Test(digest, equal_compares_every_byte)
{
	struct digest a, b;

	(void)digest_parse(&a, text);
	b = a;
	cr_assert(digest_equal(&a, &b));
	for (int i = 0; i < DIGEST_SIZE; i++) {
		b.bytes[i] ^= 1;
		cr_assert_not(digest_equal(&a, &b));
		b.bytes[i] ^= 1;
	}
}
