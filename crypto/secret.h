/* SPDX-License-Identifier: Apache-2.0
 * Thirty-two secret bytes that wipe themselves: declare `cleanup_secret struct secret s;`. */
#ifndef COCOON_CRYPTO_SECRET_H
#define COCOON_CRYPTO_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#define SECRET_SIZE 32

struct secret {
	uint8_t bytes[SECRET_SIZE];
};

/* From the kernel's generator. 0 or -EIO. */
int secret_random(struct secret *out);
void secret_wipe(struct secret *s);
/* Constant time. */
bool secret_equal(const struct secret *a, const struct secret *b);

#define cleanup_secret __attribute__((cleanup(secret_wipe)))

#endif
