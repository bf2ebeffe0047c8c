/* SPDX-License-Identifier: Apache-2.0
 * open-loop BYTES CHUNK: what checking and decrypting alone cost here, with the guest's own functions: BYTES
 * of chunks are hashed and opened in memory, nothing else. Prints "drain: hash BYTES SECONDS" and "drain:
 * open …" of the two parts. */
#include "crypto/aead.h"
#include "crypto/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	size_t chunk = argc == 3 ? strtoul(argv[2], NULL, 10) : 0, done;
	uint8_t *plain, *sealed;
	struct secret key = {{1}};
	struct digest id;
	struct aead *a;
	double start;

	if (chunk == 0 || aead_new(&a) < 0)
		return 1;
	plain = calloc(1, chunk);
	sealed = malloc(chunk + AEAD_TAG_SIZE);
	if (!plain || !sealed || aead_seal(a, sealed, plain, chunk, &key) < 0)
		return 1;
	start = seconds();
	for (done = 0; done < bytes; done += chunk)
		if (sha256(&id, sealed, chunk + AEAD_TAG_SIZE) < 0)
			return 1;
	(void)printf("drain: hash %zu %.6f\n", done, seconds() - start);
	start = seconds();
	for (done = 0; done < bytes; done += chunk)
		if (aead_open(a, plain, sealed, chunk + AEAD_TAG_SIZE, &key) < 0)
			return 1;
	(void)printf("drain: open %zu %.6f\n", done, seconds() - start);
	aead_free(a);
	free(plain);
	free(sealed);
	return 0;
}
