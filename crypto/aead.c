/* SPDX-License-Identifier: Apache-2.0
 * AES-256-GCM through OpenSSL's EVP. The door is narrow on purpose: OpenSSL would take short tags and other
 * IV lengths, and it writes plaintext before the tag is checked; neither gets past here. */
#include "crypto/aead.h"
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

static const uint8_t nonce[12];
static const uint8_t aad[] = CHUNK_AAD; /* its NUL is left out below */

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

int aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key)
{
	int done;

	if (n > INT_MAX - AEAD_TAG_SIZE)
		return -EINVAL;
	if (EVP_EncryptInit_ex2(a->ctx, a->cipher, key->bytes, nonce, NULL) != 1 ||
	    EVP_EncryptUpdate(a->ctx, NULL, &done, aad, sizeof(aad) - 1) != 1 ||
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

int aead_open(struct aead *a, uint8_t *out, const uint8_t *sealed, size_t n, const struct secret *key)
{
	uint8_t tag[AEAD_TAG_SIZE];
	int done, r = 0;

	if (n < AEAD_TAG_SIZE || n > INT_MAX)
		return -EBADMSG;
	n -= AEAD_TAG_SIZE;
	memcpy(tag, sealed + n, sizeof(tag));
	if (EVP_DecryptInit_ex2(a->ctx, a->cipher, key->bytes, nonce, NULL) != 1 ||
	    EVP_DecryptUpdate(a->ctx, NULL, &done, aad, sizeof(aad) - 1) != 1 ||
	    EVP_DecryptUpdate(a->ctx, out, &done, sealed, (int)n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1)
		r = -ENOMEM;
	else if (EVP_DecryptFinal_ex(a->ctx, out + n, &done) != 1)
		r = -EBADMSG;
	(void)EVP_CIPHER_CTX_reset(a->ctx);
	if (r < 0)
		explicit_bzero(out, n);
	return r;
}
