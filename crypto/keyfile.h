/* SPDX-License-Identifier: Apache-2.0
 * Secrets as files: PEM-like text with 32 bytes (FORMAT.md §7). All copies but the caller's are wiped. */
#ifndef COCOON_CRYPTO_KEYFILE_H
#define COCOON_CRYPTO_KEYFILE_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"

#define KEYFILE_DOMAIN "COCOON DOMAIN SECRET"
#define KEYFILE_IMAGE "COCOON IMAGE KEY"

/* `kind` is KEYFILE_DOMAIN or KEYFILE_IMAGE. 0; -EINVAL with words for a file of another kind or shape;
 * errors of reading. */
int keyfile_read(struct secret *out, const char *path, const char *kind, struct err *e);
/* Mode 0600; refuses to overwrite (-EEXIST); leaves nothing behind when it fails. */
int keyfile_write(const struct secret *s, const char *path, const char *kind, struct err *e);

/* The same over memory. */
int keyfile_decode(struct secret *out, const char *text, size_t n, const char *kind, struct err *e);
void keyfile_encode(struct buf *to, const struct secret *s, const char *kind);

#endif
