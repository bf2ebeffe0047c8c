/* SPDX-License-Identifier: Apache-2.0
 * The annotation with wrapped keys, tried with an EC and an RSA key that open some of the samples. */
#include "crypto/keywrap.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/test_keys.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A path that holds `pem`, for the life of the process. */
static const char *key_path(char path[static 32], const char *pem)
{
	int fd;

	if (*path)
		return path;
	fd = memfd_create("key", 0);
	fuzz_assert(fd >= 0 && write(fd, pem, strlen(pem)) == (ssize_t)strlen(pem));
	(void)snprintf(path, 32, "/proc/self/fd/%d", fd);
	return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char ec[32], rsa[32];
	const char *paths[] = {key_path(ec, TEST_KEY_EC), key_path(rsa, TEST_KEY_RSA)};
	const struct digest image = {{0x11, 0x22}};
	char *text = malloc(size + 1);

	fuzz_assert(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	for (int i = 0; i < 2; i++) {
		struct secret key;
		struct err e;

		(void)keywrap_unwrap(&key, text, &image, paths[i], &e);
	}
	free(text);
	return 0;
}
