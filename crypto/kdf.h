/* SPDX-License-Identifier: Apache-2.0
 * HKDF with SHA-256 (RFC 5869), and the derivations of FORMAT.md §7 on top of it. 0 or -ENOMEM; any thread.
 */
#ifndef COCOON_CRYPTO_KDF_H
#define COCOON_CRYPTO_KDF_H

#include "crypto/secret.h"
#include "proto/base/digest.h"

#include <stddef.h>
#include <stdint.h>

/* PRK = HMAC(salt, key). */
int hkdf_extract(struct secret *prk, const void *salt, size_t salt_size, const void *key, size_t key_size);
/* `size` is at most 255 × 32, `info_size` 160: -EINVAL. */
int hkdf_expand(uint8_t *out, size_t size, const struct secret *prk, const void *info, size_t info_size);

/* PRK_domain, PRK_meta, PRK_image of a 32-byte secret: `salt` is SALT_DOMAIN, SALT_META or SALT_IMAGE. */
int kdf_prk(struct secret *prk, const char *salt, const struct secret *secret);

/* K of a data or metadata chunk whose message has m_size bytes and digest m_digest. */
int kdf_chunk_key(struct secret *out, const struct secret *prk, uint64_t m_size,
		  const struct digest *m_digest);
/* The image's salt, from 32 fresh random bytes and the digest of the root chunk's message. */
int kdf_salt(uint8_t out[static 32], const struct secret *prk_image, const struct secret *random,
	     const struct digest *m_root);
/* K of the root chunk; `descriptor` is the encoded descriptor with any root hash (it is taken as zero). */
int kdf_root_key(struct secret *out, const struct secret *prk_image, const uint8_t *descriptor);
int kdf_commitment(uint8_t out[static 32], const struct secret *prk_image);
/* The gear table of the cutter. */
int kdf_cut_table(uint64_t out[static 256], const struct secret *prk_domain);

#endif
