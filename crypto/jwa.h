/* SPDX-License-Identifier: Apache-2.0
 * The key management algorithms of RFC 7518 that a recipient may have: RSA-OAEP, RSA-OAEP-256, ECDH-ES+A256KW
 * on P-256, P-384 and P-521. They carry a content key of 32 bytes and nothing else. Internal to crypto/:
 * keywrap.h is the door. All: 0; -ENOKEY when the input is not for this key or was changed; -ENOMEM. */
#ifndef COCOON_CRYPTO_JWA_H
#define COCOON_CRYPTO_JWA_H

#include "crypto/secret.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWA_MIN_RSA_BITS 2048
#define JWA_MAX_RSA_BYTES 2048 /* OpenSSL's own limit of 16384 bits */
#define JWA_MAX_COORDINATE 66  /* P-521 */
#define JWA_WRAPPED_SIZE 40    /* RFC 3394 adds 8 bytes */

struct jwa_curve {
	const char *jwk;   /* "crv" of RFC 7518 §6.2 */
	const char *group; /* OpenSSL's name */
	size_t size;	   /* bytes of a coordinate */
};

/* NULL when the key is not EC on one of the three curves. */
const struct jwa_curve *jwa_curve_of(const EVP_PKEY *key);
/* RSA (not PSS) of at least JWA_MIN_RSA_BITS. */
bool jwa_is_rsa(const EVP_PKEY *key);

/* `hash` is "SHA1" (RSA-OAEP) or "SHA256" (RSA-OAEP-256), also for MGF1. *out_size is the room in and the
 * size out. */
int jwa_rsa_wrap(uint8_t *out, size_t *out_size, const struct secret *cek, EVP_PKEY *key, const char *hash);
int jwa_rsa_unwrap(struct secret *cek, const uint8_t *wrapped, size_t n, EVP_PKEY *key, const char *hash);

/* AES-256 key wrap, RFC 3394. */
int jwa_aes_wrap(uint8_t out[static JWA_WRAPPED_SIZE], const struct secret *cek, const struct secret *kek);
int jwa_aes_unwrap(struct secret *cek, const uint8_t *wrapped, size_t n, const struct secret *kek);

/* A public key from its coordinates (curve->size bytes each) and back. A point that is not on the curve is
 * -ENOKEY. */
int jwa_point_decode(EVP_PKEY **out, const struct jwa_curve *curve, const uint8_t *x, const uint8_t *y);
int jwa_point_encode(const EVP_PKEY *key, const struct jwa_curve *curve, uint8_t x[static JWA_MAX_COORDINATE],
		     uint8_t y[static JWA_MAX_COORDINATE]);

struct jwa_party { /* apu, apv: RFC 7518 §4.6.1 */
	const uint8_t *data;
	size_t size;
};

/* The key encryption key of ECDH-ES+A256KW: ECDH, then Concat KDF (RFC 7518 §4.6.2). */
int jwa_ecdh_es(struct secret *kek, EVP_PKEY *own, EVP_PKEY *peer, struct jwa_party u, struct jwa_party v);

#endif
