/* SPDX-License-Identifier: Apache-2.0
 * The one AES-256-GCM of the project with nonce and AAD open: for crypto/jwe.c, which has a fresh key and IV
 * for each message, and for known answers. Everybody else goes through crypto/aead.h. Tags have 16 bytes,
 * nonces 12; there is no parameter for another. Contracts as there. */
#ifndef COCOON_CRYPTO_AEAD_INTERNAL_H
#define COCOON_CRYPTO_AEAD_INTERNAL_H

#include "crypto/aead.h"

#define AEAD_NONCE_SIZE 12

int aead_seal_with(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key,
		   const uint8_t nonce[static AEAD_NONCE_SIZE], const void *aad, size_t aad_size);
int aead_open_with(struct aead *a, uint8_t *out, const uint8_t *sealed, size_t n, const struct secret *key,
		   const uint8_t nonce[static AEAD_NONCE_SIZE], const void *aad, size_t aad_size);

#endif
