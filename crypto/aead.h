/* SPDX-License-Identifier: Apache-2.0
 * AES-256-GCM as the format uses it and in no other way: 96-bit zero nonce, 128-bit tag behind the
 * ciphertext, constant AAD (FORMAT.md §6, facts of NIST SP 800-38D). A key seals one message only;
 * crypto/kdf.h derives it from that message. A `struct aead` is scratch state of one thread. */
#ifndef COCOON_CRYPTO_AEAD_H
#define COCOON_CRYPTO_AEAD_H

#include "crypto/secret.h"

#include <stddef.h>
#include <stdint.h>

#define AEAD_TAG_SIZE 16

struct aead;

/* 0 or -ENOMEM. */
int aead_new(struct aead **out);
void aead_free(struct aead *a); /* wipes; NULL is fine */

/* Seal n bytes of `m` into `out` (n + AEAD_TAG_SIZE bytes). `out` may be `m`. 0; -ENOMEM: `out`
 * is all zero; -EINVAL when it would be over INT_MAX: `out` is not touched. */
int aead_seal(struct aead *a, uint8_t *out, const uint8_t *m, size_t n, const struct secret *key);

/* Open `sealed` (n bytes, tag included) into `out` (n − AEAD_TAG_SIZE bytes). 0; -EBADMSG when the tag is
 * wrong: `out` is all zero then, -ENOMEM likewise. -EBADMSG when n is below AEAD_TAG_SIZE or over INT_MAX:
 * `out` is not touched. `out` may be `sealed`. */
int aead_open(struct aead *a, uint8_t *out, const uint8_t *sealed, size_t n, const struct secret *key);

#endif
