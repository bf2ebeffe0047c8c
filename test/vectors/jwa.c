/* SPDX-License-Identifier: Apache-2.0
 * AES key wrap, ECDH and RSA-OAEP against Wycheproof. Our doors carry 32 bytes only: what is valid with
 * another size must be refused as well. */
#include "crypto/jwa.h"
#include "crypto/sha256.h"
#include "test/vectors/vector_file.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

static unsigned n_good, n_refused;

static bool is_valid(const json_t *test)
{
	return strcmp(vector_text(test, "result"), "valid") == 0;
}

static void one_wrap(const json_t *group, const json_t *test)
{
	uint8_t msg[512], ct[512], out[JWA_WRAPPED_SIZE];
	size_t n = vector_hex(test, "msg", msg, sizeof(msg)),
	       ct_size = vector_hex(test, "ct", ct, sizeof(ct));
	long long id = vector_number(test, "tcId");
	struct secret kek, cek;

	if (vector_number(group, "keySize") != 256)
		return;
	(void)vector_hex(test, "key", kek.bytes, SECRET_SIZE);
	if (!is_valid(test) || n != SECRET_SIZE) {
		n_refused++;
		cr_assert_eq(jwa_aes_unwrap(&cek, ct, ct_size, &kek), -ENOKEY, "%lld", id);
		return;
	}
	n_good++;
	cr_assert_eq(jwa_aes_unwrap(&cek, ct, ct_size, &kek), 0, "%lld", id);
	cr_assert_arr_eq(cek.bytes, msg, SECRET_SIZE, "%lld", id);
	cr_assert_eq(jwa_aes_wrap(out, &cek, &kek), 0);
	cr_assert_arr_eq(out, ct, JWA_WRAPPED_SIZE, "%lld", id);
}

Test(jwa, aes_key_wrap_wycheproof)
{
	vector_each("wycheproof/kw_test.json", one_wrap);
	cr_assert_eq(n_good, 4);
	cr_assert_eq(n_refused, 42 + 12 + 9);
}

static EVP_PKEY *rsa_key(const json_t *group)
{
	uint8_t der[4096];
	const uint8_t *at = der;
	size_t n = vector_hex(group, "privateKeyPkcs8", der, sizeof(der));

	return d2i_AutoPrivateKey(NULL, &at, (long)n);
}

static void one_oaep(const json_t *group, const json_t *test, const char *hash)
{
	uint8_t msg[512], ct[512];
	size_t n = vector_hex(test, "msg", msg, sizeof(msg)),
	       ct_size = vector_hex(test, "ct", ct, sizeof(ct));
	bool label = *vector_text(test, "label") != '\0';
	long long id = vector_number(test, "tcId");
	EVP_PKEY *key = rsa_key(group);
	struct secret cek;

	cr_assert_not_null(key);
	if (is_valid(test) && n == SECRET_SIZE && !label) {
		n_good++;
		cr_assert_eq(jwa_rsa_unwrap(&cek, ct, ct_size, key, hash), 0, "%lld", id);
		cr_assert_arr_eq(cek.bytes, msg, SECRET_SIZE, "%lld", id);
	} else {
		n_refused++;
		cr_assert_eq(jwa_rsa_unwrap(&cek, ct, ct_size, key, hash), -ENOKEY, "%lld", id);
	}
	EVP_PKEY_free(key);
}

static void one_oaep_sha1(const json_t *group, const json_t *test)
{
	one_oaep(group, test, "SHA1");
}

static void one_oaep_sha256(const json_t *group, const json_t *test)
{
	one_oaep(group, test, "SHA256");
}

Test(jwa, rsa_oaep_wycheproof)
{
	vector_each("wycheproof/rsa_oaep_2048_sha1_mgf1sha1_test.json", one_oaep_sha1);
	cr_assert_eq(n_good, 1);
	cr_assert_eq(n_refused, 33);
}

Test(jwa, rsa_oaep_256_wycheproof)
{
	vector_each("wycheproof/rsa_oaep_2048_sha256_mgf1sha256_test.json", one_oaep_sha256);
	cr_assert_eq(n_good, 1);
	cr_assert_eq(n_refused, 34);
}

/* A private key from its number alone. */
static EVP_PKEY *ec_key(const char *group, const json_t *test)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	BIGNUM *d = NULL;
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params;

	cr_assert_gt(BN_hex2bn(&d, vector_text(test, "private")), 0);
	cr_assert_eq(OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group, 0), 1);
	cr_assert_eq(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d), 1);
	params = OSSL_PARAM_BLD_to_param(build);
	cr_assert_eq(EVP_PKEY_fromdata_init(ctx), 1);
	cr_assert_eq(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	BN_free(d);
	return key;
}

/* Concat KDF written out for parties "Alice" and "Bob": RFC 7518 §4.6.2. */
static void expected_kek(struct digest *out, const json_t *test, size_t size)
{
	static const uint8_t other[] = "\0\0\0\x0e"
				       "ECDH-ES+A256KW"
				       "\0\0\0\x05"
				       "Alice"
				       "\0\0\0\x03"
				       "Bob"
				       "\0\0\1";
	uint8_t text[4 + JWA_MAX_COORDINATE] = {0, 0, 0, 1};

	cr_assert_eq(vector_hex(test, "shared", text + 4, JWA_MAX_COORDINATE), size);
	/* the NUL that ends the string literal is the last byte of 256 */
	cr_assert_eq(sha256_pair(out, text, 4 + size, other, sizeof(other)), 0);
}

static void one_ecdh(const json_t *group, const json_t *test)
{
	static const char *const names[][2] = {
		{"secp256r1", "prime256v1"}, {"secp384r1", "secp384r1"}, {"secp521r1", "secp521r1"}};
	const struct jwa_party alice = {(const uint8_t *)"Alice", 5}, bob = {(const uint8_t *)"Bob", 3};
	uint8_t point[256];
	size_t n = vector_hex(test, "public", point, sizeof(point));
	long long id = vector_number(test, "tcId");
	const struct jwa_curve *curve;
	EVP_PKEY *own = NULL, *peer = NULL;
	struct digest want;
	struct secret kek;
	int r;

	for (int i = 0; i < 3; i++)
		if (strcmp(vector_text(group, "curve"), names[i][0]) == 0)
			own = ec_key(names[i][1], test);
	cr_assert_not_null(own);
	curve = jwa_curve_of(own);
	cr_assert_not_null(curve);
	if (n != 1 + 2 * curve->size || point[0] != 4) {
		/* compressed and empty points: a JWK cannot say them */
		EVP_PKEY_free(own);
		return;
	}
	r = jwa_point_decode(&peer, curve, point + 1, point + 1 + curve->size);
	if (r == 0)
		r = jwa_ecdh_es(&kek, own, peer, alice, bob);
	if (is_valid(test)) {
		n_good++;
		cr_assert_eq(r, 0, "%lld", id);
		expected_kek(&want, test, curve->size);
		cr_assert_arr_eq(kek.bytes, want.bytes, SECRET_SIZE, "%lld", id);
	} else {
		n_refused++;
		cr_assert_eq(r, -ENOKEY, "%lld", id);
	}
	EVP_PKEY_free(own);
	EVP_PKEY_free(peer);
}

Test(jwa, ecdh_wycheproof)
{
	vector_each("wycheproof/ecdh_secp256r1_ecpoint_test.json", one_ecdh);
	vector_each("wycheproof/ecdh_secp384r1_ecpoint_test.json", one_ecdh);
	vector_each("wycheproof/ecdh_secp521r1_ecpoint_test.json", one_ecdh);
	cr_assert_eq(n_good, 191 + 163 + 208);
	cr_assert_eq(n_refused, 3 * 16);
}
