/* SPDX-License-Identifier: Apache-2.0
 * HKDF-SHA256 against Wycheproof, which holds RFC 5869's own test cases. */
#include "crypto/kdf.h"
#include "test/vectors/vector_file.h"

#include <errno.h>

static unsigned n_valid, n_invalid, n_rfc5869;

static void one(const json_t *group, const json_t *test)
{
	static uint8_t want[256 * 32], got[256 * 32];
	uint8_t ikm[256], salt[256], info[256];
	size_t ikm_size = vector_hex(test, "ikm", ikm, sizeof(ikm));
	size_t salt_size = vector_hex(test, "salt", salt, sizeof(salt));
	size_t info_size = vector_hex(test, "info", info, sizeof(info));
	size_t size = (size_t)vector_number(test, "size");
	long long id = vector_number(test, "tcId");
	struct secret prk;

	(void)group;
	cr_assert_eq(hkdf_extract(&prk, salt, salt_size, ikm, ikm_size), 0, "%lld", id);
	if (strcmp(vector_text(test, "result"), "valid") == 0) {
		n_valid++;
		cr_assert_eq(vector_hex(test, "okm", want, sizeof(want)), size);
		cr_assert_eq(hkdf_expand(got, size, &prk, info, info_size), 0, "%lld", id);
		cr_assert_eq(memcmp(got, want, size), 0, "%lld", id);
	} else {
		n_invalid++;
		cr_assert_eq(hkdf_expand(got, size, &prk, info, info_size), -EINVAL, "%lld", id);
	}
	if (strcmp(vector_text(test, "comment"), "RFC 5869") == 0)
		n_rfc5869++;
}

Test(hkdf, wycheproof_and_rfc_5869)
{
	vector_each("wycheproof/hkdf_sha256_test.json", one);
	cr_assert_eq(n_valid, 102);
	cr_assert_eq(n_invalid, 3);
	cr_assert_eq(n_rfc5869, 3);
}
