/* SPDX-License-Identifier: Apache-2.0
 * SHA-256, one-shot and streaming. 0 or -ENOMEM (OpenSSL could not allocate). One struct belongs to one
 * thread. */
#ifndef COCOON_CRYPTO_SHA256_H
#define COCOON_CRYPTO_SHA256_H

#include "proto/base/digest.h"

#include <stddef.h>

int sha256(struct digest *out, const void *p, size_t n);
/* SHA-256(a ‖ b), for salted hashes. */
int sha256_pair(struct digest *out, const void *a, size_t a_size, const void *b, size_t b_size);

struct sha256 {
	void *ctx; /* EVP_MD_CTX; NULL before init and after final */
};

int sha256_init(struct sha256 *s);
int sha256_update(struct sha256 *s, const void *p, size_t n);
int sha256_final(struct sha256 *s, struct digest *out); /* also releases */
void sha256_deinit(struct sha256 *s);			/* for the way out; NULL ctx is fine */

#endif
