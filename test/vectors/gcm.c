/* SPDX-License-Identifier: Apache-2.0
 * AES-256-GCM against Wycheproof, through the inner door that has nonce and AAD. */
#include "crypto/aead_internal.h"
#include "test/vectors/vector_file.h"

#include <errno.h>

static unsigned n_valid, n_invalid, n_unsayable;

static void one(const json_t *group, const json_t *test)
{
	uint8_t m[512], aad[512], sealed[512 + AEAD_TAG_SIZE], out[512 + AEAD_TAG_SIZE], zero[512] = {0};
	uint8_t nonce[AEAD_NONCE_SIZE];
	long long id = vector_number(test, "tcId");
	size_t n, aad_size, ct_size;
	struct secret key;
	struct aead *a;

	if (vector_number(group, "keySize") != 256 || vector_number(group, "ivSize") != 96) {
		n_unsayable++;
		return;
	}
	cr_assert_eq(vector_number(group, "tagSize"), 128);
	(void)vector_hex(test, "key", key.bytes, SECRET_SIZE);
	(void)vector_hex(test, "iv", nonce, sizeof(nonce));
	aad_size = vector_hex(test, "aad", aad, sizeof(aad));
	n = vector_hex(test, "msg", m, sizeof(m));
	ct_size = vector_hex(test, "ct", sealed, sizeof(m));
	(void)vector_hex(test, "tag", sealed + ct_size, AEAD_TAG_SIZE);
	cr_assert_eq(n, ct_size);
	cr_assert_eq(aead_new(&a), 0);
	if (strcmp(vector_text(test, "result"), "valid") == 0) {
		n_valid++;
		cr_assert_eq(aead_seal_with(a, out, m, n, &key, nonce, aad, aad_size), 0, "%lld", id);
		cr_assert_arr_eq(out, sealed, n + AEAD_TAG_SIZE, "%lld", id);
		cr_assert_eq(aead_open_with(a, out, sealed, n + AEAD_TAG_SIZE, &key, nonce, aad, aad_size), 0,
			     "%lld", id);
		cr_assert_eq(memcmp(out, m, n), 0, "%lld", id);
	} else {
		n_invalid++;
		memset(out, 0xee, sizeof(out));
		cr_assert_eq(aead_open_with(a, out, sealed, n + AEAD_TAG_SIZE, &key, nonce, aad, aad_size),
			     -EBADMSG, "%lld", id);
		cr_assert_eq(memcmp(out, zero, n), 0, "%lld left plaintext", id);
	}
	aead_free(a);
}

Test(gcm, wycheproof)
{
	vector_each("wycheproof/aes_gcm_test.json", one);
	cr_log_info("%u valid, %u invalid, %u of other key or IV sizes", n_valid, n_invalid, n_unsayable);
	cr_assert_eq(n_valid, 21);
	cr_assert_eq(n_invalid, 27);
}
