/* SPDX-License-Identifier: Apache-2.0
 * Secrets: random, compared whole, wiped at the end of their scope. */
#include "crypto/secret.h"

#include <criterion/criterion.h>
#include <string.h>

Test(secret, random_ones_differ)
{
	struct secret a, b;
	const struct secret zero = {{0}};

	cr_assert_eq(secret_random(&a), 0);
	cr_assert_eq(secret_random(&b), 0);
	cr_assert_not(secret_equal(&a, &b));
	cr_assert_not(secret_equal(&a, &zero));
}

Test(secret, equal_looks_at_every_byte)
{
	struct secret a, b;

	cr_assert_eq(secret_random(&a), 0);
	b = a;
	cr_assert(secret_equal(&a, &b));
	for (int i = 0; i < SECRET_SIZE; i++) {
		b.bytes[i] ^= 0x80;
		cr_assert_not(secret_equal(&a, &b));
		b.bytes[i] ^= 0x80;
	}
}

Test(secret, wipe_leaves_zeroes)
{
	const struct secret zero = {{0}};
	struct secret s;

	memset(&s, 0xff, sizeof(s));
	secret_wipe(&s);
	cr_assert(secret_equal(&s, &zero));
}
