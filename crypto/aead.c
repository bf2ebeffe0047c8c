/* SPDX-License-Identifier: Apache-2.0
 * AES-256-GCM through OpenSSL's EVP. The door is narrow on purpose: OpenSSL would take short tags and other
 * IV lengths, and it writes plaintext before the tag is checked; neither gets past here. */
#include "crypto/aead_internal.h"
#include "proto/format/format.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct aead {
	EVP_CIPHER *cipher;
	EVP_CIPHER_CTX *ctx;
};

static const uint8_t zero_nonce[AEAD_NONCE_SIZE];

int aead_new(struct aead **out)
{
	struct aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->cipher || !a->ctx) {
		aead_free(a);
		return -ENOMEM;
	}
	*out = a;
	return 0;
}

void aead_free(struct aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->ctx);
	EVP_CIPHER_free(a->cipher);
	free(a);
}

int aead_seal_with(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key,
		   const uint8_t nonce[static AEAD_NONCE_SIZE], const void *aad, size_t aad_size)
{
	int done;

	if (n > INT_MAX - AEAD_TAG_SIZE || aad_size > INT_MAX)
		return -EINVAL;
	if (EVP_EncryptInit_ex2(a->ctx, a->cipher, key->bytes, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(a->ctx, NULL, &done, aad, (int)aad_size) != 1 ||
	    EVP_EncryptUpdate(a->ctx, out, &done, m, (int)n) != 1 ||
	    EVP_EncryptFinal_ex(a->ctx, out + done, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, out + n) != 1) {
		(void)EVP_CIPHER_CTX_reset(a->ctx);
		explicit_bzero(out, n + AEAD_TAG_SIZE);
		return -ENOMEM;
	}
	/* the key schedule does not outlive the message */
	(void)EVP_CIPHER_CTX_reset(a->ctx);
	return 0;
}

int aead_open_with(struct aead *a, uint8_t *out, const uint8_t *sealed, size_t n, const struct secret *key,
		   const uint8_t nonce[static AEAD_NONCE_SIZE], const void *aad, size_t aad_size)
{
	uint8_t tag[AEAD_TAG_SIZE];
	int done, r = 0;

	if (n < AEAD_TAG_SIZE || n > INT_MAX || aad_size > INT_MAX)
		return -EBADMSG;
	n -= AEAD_TAG_SIZE;
	memcpy(tag, sealed + n, sizeof(tag));
	if (EVP_DecryptInit_ex2(a->ctx, a->cipher, key->bytes, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(a->ctx, NULL, &done, aad, (int)aad_size) != 1 ||
	    EVP_DecryptUpdate(a->ctx, out, &done, sealed, (int)n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1)
		r = -ENOMEM;
	else if (EVP_DecryptFinal_ex(a->ctx, out + n, &done) != 1)
		r = -EBADMSG;
	(void)EVP_CIPHER_CTX_reset(a->ctx);
	if (r < 0 && n > 0)
		explicit_bzero(out, n);
	return r;
}

/* The NUL of the macro is no part of the AAD. */
int aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key)
{
	return aead_seal_with(a, out, m, n, key, zero_nonce, CHUNK_AAD, sizeof(CHUNK_AAD) - 1);
}

int aead_open(struct aead *a, uint8_t *out, const uint8_t *sealed, size_t n, const struct secret *key)
{
	return aead_open_with(a, out, sealed, n, key, zero_nonce, CHUNK_AAD, sizeof(CHUNK_AAD) - 1);
}
