/* SPDX-License-Identifier: Apache-2.0
 * Secrets as files: PEM-like text with 32 bytes (FORMAT.md §7). Read into locked memory, wiped on the way.
 * 0; -EINVAL with words for a file of another kind or shape; errors of reading and writing. */
#ifndef COCOON_CRYPTO_KEYFILE_H
#define COCOON_CRYPTO_KEYFILE_H

#include "crypto/secret.h"
#include "proto/base/err.h"

#define KEYFILE_DOMAIN "COCOON DOMAIN SECRET"
#define KEYFILE_IMAGE "COCOON IMAGE KEY"

/* `kind` is KEYFILE_DOMAIN or KEYFILE_IMAGE. */
int keyfile_read(struct secret *out, const char *path, const char *kind, struct err *e);
/* Mode 0600; refuses to overwrite (-EEXIST). */
int keyfile_write(const struct secret *s, const char *path, const char *kind, struct err *e);

#endif
