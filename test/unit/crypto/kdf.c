/* SPDX-License-Identifier: Apache-2.0
 * What the known answers of test/vectors do not show: limits, and that every purpose and every input gives
 * its own key. */
#include "crypto/kdf.h"
#include "proto/format/descriptor.h"
#include "proto/format/format.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct secret secret = {{1, 2, 3}};

Test(kdf, expand_has_limits)
{
	static uint8_t out[256 * 32], info[200];

	cr_assert_eq(hkdf_expand(out, (size_t)255 * 32, &secret, info, 0), 0);
	cr_assert_eq(hkdf_expand(out, (size_t)255 * 32 + 1, &secret, info, 0), -EINVAL);
	cr_assert_eq(hkdf_expand(out, 32, &secret, info, 160), 0);
	cr_assert_eq(hkdf_expand(out, 32, &secret, info, 161), -EINVAL);
}

Test(kdf, a_longer_output_begins_with_the_shorter)
{
	uint8_t a[100], b[100] = {0};

	cr_assert_eq(hkdf_expand(a, 100, &secret, "x", 1), 0);
	for (size_t n = 0; n <= 100; n++) {
		cr_assert_eq(hkdf_expand(b, n, &secret, "x", 1), 0);
		cr_assert_eq(memcmp(a, b, n), 0);
	}
}

Test(kdf, every_purpose_gives_its_own_key)
{
	uint8_t descriptor[DESCRIPTOR_SIZE] = {0};
	const struct digest d = {{0}};
	const struct secret zero = {{0}};
	uint64_t cut[256];
	struct secret keys[8];

	cr_assert_eq(kdf_prk(&keys[0], SALT_DOMAIN, &secret), 0);
	cr_assert_eq(kdf_prk(&keys[1], SALT_META, &secret), 0);
	cr_assert_eq(kdf_prk(&keys[2], SALT_IMAGE, &secret), 0);
	cr_assert_eq(kdf_chunk_key(&keys[3], &secret, 0, &d), 0);
	cr_assert_eq(kdf_salt(keys[4].bytes, &secret, &zero, &d), 0);
	cr_assert_eq(kdf_root_key(&keys[5], &secret, descriptor), 0);
	cr_assert_eq(kdf_commitment(keys[6].bytes, &secret), 0);
	cr_assert_eq(kdf_cut_table(cut, &secret), 0);
	memcpy(keys[7].bytes, cut, SECRET_SIZE);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < i; k++)
			cr_assert_not(secret_equal(&keys[i], &keys[k]), "%d and %d", i, k);
}

Test(kdf, chunk_key_depends_on_prk_size_and_digest)
{
	const struct secret other = {{1, 2, 4}};
	struct digest d = {{9}};
	struct secret a, b;

	cr_assert_eq(kdf_chunk_key(&a, &secret, 100, &d), 0);
	cr_assert_eq(kdf_chunk_key(&b, &secret, 100, &d), 0);
	cr_assert(secret_equal(&a, &b), "the same chunk has the same key");
	cr_assert_eq(kdf_chunk_key(&b, &secret, 101, &d), 0);
	cr_assert_not(secret_equal(&a, &b));
	cr_assert_eq(kdf_chunk_key(&b, &secret, 100ull << 32, &d), 0);
	cr_assert_not(secret_equal(&a, &b));
	cr_assert_eq(kdf_chunk_key(&b, &other, 100, &d), 0);
	cr_assert_not(secret_equal(&a, &b));
	d.bytes[31] = 1;
	cr_assert_eq(kdf_chunk_key(&b, &secret, 100, &d), 0);
	cr_assert_not(secret_equal(&a, &b));
}
