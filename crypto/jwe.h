/* SPDX-License-Identifier: Apache-2.0
 * JSON Web Encryption in its JSON serialisations (RFC 7516 §7.2): A256GCM for the content, crypto/jwa.h for
 * the content key. What ocicrypt's Go and Rust writes and reads. Internal to crypto/: keywrap.h is the door.
 */
#ifndef COCOON_CRYPTO_JWE_H
#define COCOON_CRYPTO_JWE_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define JWE_MAX_SIZE (256u << 10)
#define JWE_MAX_RECIPIENTS 256 /* each costs a private-key operation, and the list is a stranger's */

/* Append the flattened serialisation of `plain` for one recipient, an RSA or EC public key that jwa.h takes.
 * 0 or -ENOMEM (also when `to` is full). */
int jwe_seal(struct buf *to, const void *plain, size_t n, EVP_PKEY *recipient);

/* Open a flattened or general serialisation (untrusted, n bytes) with a private key, trying every recipient.
 * `plain` is empty, from buf_init_secret(), with room for n bytes. 0; -ENOKEY when no recipient is for this
 * key, when the algorithms are others, or when the content was changed; -EINVAL with words for what is no
 * JWE; -ENOMEM. */
int jwe_open(struct buf *plain, const char *json, size_t n, EVP_PKEY *key, struct err *e);

#endif
