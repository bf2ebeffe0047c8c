/* SPDX-License-Identifier: Apache-2.0
 * A fresh key pair for a recipient (crypto/keywrap.h): EC P-256, the private key as PKCS#8 in PEM with mode
 * 0600, the public key as SubjectPublicKeyInfo in PEM. */
#ifndef COCOON_CRYPTO_KEYPAIR_H
#define COCOON_CRYPTO_KEYPAIR_H

#include "proto/base/err.h"

/* Neither file may be there (-EEXIST); both are there afterwards, or none. */
int keypair_write(const char *private_path, const char *public_path, struct err *e);

#endif
