/* SPDX-License-Identifier: Apache-2.0
 * Certificates and private keys of TLS, from PEM files. Internal to crypto/: tls.h is the door. */
#ifndef COCOON_CRYPTO_TLS_FILES_H
#define COCOON_CRYPTO_TLS_FILES_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <openssl/ssl.h>

/* The SHA-256 of the certificate's SubjectPublicKeyInfo. 0, -ENOMEM, -EIO. */
int tls_files_pin(struct digest *out, const X509 *certificate);

/* Give a context its key; the pin of it in *pin. -EINVAL with words when these are no certificate, no private
 * key without a passphrase, or not of each other; errors of reading the files; -ENOMEM. */
int tls_files_use(SSL_CTX *context, const char *certificate, const char *key, struct digest *pin,
		  struct err *e);

#endif
