/* SPDX-License-Identifier: Apache-2.0
 * RSA-OAEP, ECDH-ES with Concat KDF and AES key wrap on OpenSSL's EVP, each bound to a content key of 32
 * bytes. */
#include "crypto/jwa.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <string.h>

DEFINE_CLEANUP(pkey_ctx, EVP_PKEY_CTX *, EVP_PKEY_CTX_free)
DEFINE_CLEANUP(cipher_ctx, EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)
DEFINE_CLEANUP(cipher, EVP_CIPHER *, EVP_CIPHER_free)
DEFINE_CLEANUP(param, OSSL_PARAM *, OSSL_PARAM_free)
DEFINE_CLEANUP(param_build, OSSL_PARAM_BLD *, OSSL_PARAM_BLD_free)

#define freed(type) __attribute__((cleanup(cleanup_##type)))

static const struct jwa_curve curves[] = {
	{"P-256", "prime256v1", 32},
	{"P-384", "secp384r1", 48},
	{"P-521", "secp521r1", 66},
};

const struct jwa_curve *jwa_curve_of(const EVP_PKEY *key)
{
	char group[32];

	/* keys with explicit curve parameters have no group name and are refused */
	if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
		return NULL;
	for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++)
		if (strcmp(group, curves[i].group) == 0)
			return &curves[i];
	return NULL;
}

bool jwa_is_rsa(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= JWA_MIN_RSA_BITS;
}

static int set_oaep(EVP_PKEY_CTX *ctx, const char *hash)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, hash, NULL) == 1 &&
	       EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, hash, NULL) == 1;
}

int jwa_rsa_wrap(uint8_t *out, size_t *out_size, const struct secret *cek, EVP_PKEY *key, const char *hash)
{
	freed(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);

	if (!ctx || EVP_PKEY_encrypt_init(ctx) != 1 || !set_oaep(ctx, hash) ||
	    EVP_PKEY_encrypt(ctx, out, out_size, cek->bytes, SECRET_SIZE) != 1)
		return -ENOMEM;
	return 0;
}

int jwa_rsa_unwrap(struct secret *cek, const uint8_t *wrapped, size_t n, EVP_PKEY *key, const char *hash)
{
	freed(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	uint8_t plain[JWA_MAX_RSA_BYTES];
	size_t size = sizeof(plain);
	int r = -ENOKEY;

	if (!ctx || EVP_PKEY_decrypt_init(ctx) != 1 || !set_oaep(ctx, hash))
		return -ENOMEM;
	/* RFC 8017 §7.1.2: the ciphertext is as long as the modulus, not shorter and not longer */
	if (n == (size_t)EVP_PKEY_get_size(key) && EVP_PKEY_decrypt(ctx, plain, &size, wrapped, n) == 1 &&
	    size == SECRET_SIZE) {
		memcpy(cek->bytes, plain, SECRET_SIZE);
		r = 0;
	}
	explicit_bzero(plain, sizeof(plain));
	return r;
}

int jwa_aes_wrap(uint8_t out[static JWA_WRAPPED_SIZE], const struct secret *cek, const struct secret *kek)
{
	freed(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	freed(cipher) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
	int n;

	if (!ctx || !cipher || EVP_EncryptInit_ex2(ctx, cipher, kek->bytes, NULL, NULL) != 1 ||
	    EVP_EncryptUpdate(ctx, out, &n, cek->bytes, SECRET_SIZE) != 1)
		return -ENOMEM;
	return 0;
}

int jwa_aes_unwrap(struct secret *cek, const uint8_t *wrapped, size_t n, const struct secret *kek)
{
	freed(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	freed(cipher) EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
	uint8_t plain[JWA_WRAPPED_SIZE]; /* room for what OpenSSL may write before it has checked */
	int size, r = -ENOKEY;

	if (!ctx || !cipher || EVP_DecryptInit_ex2(ctx, cipher, kek->bytes, NULL, NULL) != 1)
		return -ENOMEM;
	if (n == JWA_WRAPPED_SIZE && EVP_DecryptUpdate(ctx, plain, &size, wrapped, JWA_WRAPPED_SIZE) == 1) {
		memcpy(cek->bytes, plain, SECRET_SIZE);
		r = 0;
	}
	explicit_bzero(plain, sizeof(plain));
	return r;
}

int jwa_point_decode(EVP_PKEY **out, const struct jwa_curve *curve, const uint8_t *x, const uint8_t *y)
{
	freed(param_build) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	freed(param) OSSL_PARAM *params = NULL;
	freed(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	uint8_t point[1 + 2 * JWA_MAX_COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
	EVP_PKEY *key = NULL;

	memcpy(point + 1, x, curve->size);
	memcpy(point + 1 + curve->size, y, curve->size);
	if (!build || !ctx ||
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) != 1 ||
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curve->size) != 1)
		return -ENOMEM;
	params = OSSL_PARAM_BLD_to_param(build);
	if (!params || EVP_PKEY_fromdata_init(ctx) != 1)
		return -ENOMEM;
	if (EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		return -ENOKEY;
	*out = key;
	return 0;
}

int jwa_point_encode(const EVP_PKEY *key, const struct jwa_curve *curve, uint8_t x[static JWA_MAX_COORDINATE],
		     uint8_t y[static JWA_MAX_COORDINATE])
{
	BIGNUM *bx = NULL, *by = NULL;
	int r = -ENOMEM;

	if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &bx) == 1 &&
	    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &by) == 1 &&
	    BN_bn2binpad(bx, x, (int)curve->size) >= 0 && BN_bn2binpad(by, y, (int)curve->size) >= 0)
		r = 0;
	BN_free(bx);
	BN_free(by);
	return r;
}

static int ecdh(uint8_t z[static JWA_MAX_COORDINATE], size_t *n, EVP_PKEY *own, EVP_PKEY *peer)
{
	freed(pkey_ctx) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);

	*n = JWA_MAX_COORDINATE;
	if (!ctx || EVP_PKEY_derive_init(ctx) != 1)
		return -ENOMEM;
	/* 1: check the peer's point, so that a foreign curve's point cannot draw bits of our key */
	if (EVP_PKEY_derive_set_peer_ex(ctx, peer, 1) != 1 || EVP_PKEY_derive(ctx, z, n) != 1)
		return -ENOKEY;
	return 0;
}

static int hash_be32(struct sha256 *s, size_t v)
{
	uint8_t raw[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	return sha256_update(s, raw, sizeof(raw));
}

static int hash_counted(struct sha256 *s, const void *p, size_t n)
{
	int r = hash_be32(s, n);

	return r == 0 && n > 0 ? sha256_update(s, p, n) : r;
}

/* One round of SHA-256 gives the 256 bits that A256KW needs. */
static int concat_kdf(struct secret *out, const uint8_t *z, size_t n, struct jwa_party u, struct jwa_party v)
{
	static const char algorithm[] = "ECDH-ES+A256KW";
	struct digest d;
	struct sha256 s;
	int r = sha256_init(&s);

	if (r == 0)
		r = hash_be32(&s, 1); /* round */
	if (r == 0)
		r = sha256_update(&s, z, n);
	if (r == 0)
		r = hash_counted(&s, algorithm, sizeof(algorithm) - 1);
	if (r == 0)
		r = hash_counted(&s, u.data, u.size);
	if (r == 0)
		r = hash_counted(&s, v.data, v.size);
	if (r == 0)
		r = hash_be32(&s, 256); /* bits of the key */
	if (r == 0)
		r = sha256_final(&s, &d);
	sha256_deinit(&s);
	if (r == 0)
		memcpy(out->bytes, d.bytes, SECRET_SIZE);
	explicit_bzero(&d, sizeof(d));
	return r;
}

int jwa_ecdh_es(struct secret *kek, EVP_PKEY *own, EVP_PKEY *peer, struct jwa_party u, struct jwa_party v)
{
	uint8_t z[JWA_MAX_COORDINATE];
	size_t n;
	int r = ecdh(z, &n, own, peer);

	if (r == 0)
		r = concat_kdf(kek, z, n, u, v);
	explicit_bzero(z, sizeof(z));
	return r;
}
