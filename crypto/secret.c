/* SPDX-License-Identifier: Apache-2.0
 * Secrets: born random, compared in constant time, wiped. */
#include "crypto/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/random.h>

int secret_random(struct secret *out)
{
	/* up to 256 bytes come whole, getrandom(2) */
	return getrandom(out->bytes, SECRET_SIZE, 0) == SECRET_SIZE ? 0 : -EIO;
}

void secret_wipe(struct secret *s)
{
	explicit_bzero(s, sizeof(*s));
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return CRYPTO_memcmp(a->bytes, b->bytes, SECRET_SIZE) == 0;
}
