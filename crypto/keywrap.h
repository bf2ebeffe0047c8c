/* SPDX-License-Identifier: Apache-2.0
 * The image key wrapped for recipients in ocicrypt's JWE annotation (FORMAT.md §8). Any thread. */
#ifndef COCOON_CRYPTO_KEYWRAP_H
#define COCOON_CRYPTO_KEYWRAP_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#define KEYWRAP_MAX_ANNOTATION (256u << 10) /* of all recipients together */

/* Wrap `image_key` of the image `descriptor` for the RSA or EC public key in the PEM file `path`
 * (SubjectPublicKeyInfo or a certificate): appends base64(JWE) to `to` (born with its largest size), after a
 * comma when it is not empty. RSA (2048 bits or more): RSA-OAEP; EC P-256/384/521: ECDH-ES+A256KW. 0, -EINVAL
 * with words. */
int keywrap_wrap(struct buf *to, const struct secret *image_key, const struct digest *descriptor,
		 const char *path, struct err *e);

/* Unwrap with the private key in the PEM file `path` (PKCS#8, SEC1 or PKCS#1, no passphrase): tries each JWE
 * of `annotation`. 0; -ENOKEY when none is for this key; -EUCLEAN when the opened bytes break [W1]; -EINVAL
 * for a broken annotation or key file. All intermediate secrets are wiped. */
int keywrap_unwrap(struct secret *image_key, const char *annotation, const struct digest *descriptor,
		   const char *path, struct err *e);

/* The same with what the file holds (at most KEYWRAP_MAX_PEM bytes), for a process that cannot read it any
 * more: `path` only names it. */
#define KEYWRAP_MAX_PEM (64u << 10)
int keywrap_unwrap_pem(struct secret *image_key, const char *annotation, const struct digest *descriptor,
		       const struct buf *pem, const char *path, struct err *e);

#endif
