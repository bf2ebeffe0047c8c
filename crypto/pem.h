/* SPDX-License-Identifier: Apache-2.0
 * What all readers of PEM share. */
#ifndef COCOON_CRYPTO_PEM_H
#define COCOON_CRYPTO_PEM_H

#include <openssl/pem.h>

/* OpenSSL's question for a passphrase. A daemon has no terminal to ask at: a key under one is refused. */
static inline int pem_no_passphrase(char *to, int size, int writing, void *context)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

#endif
