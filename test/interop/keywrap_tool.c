/* SPDX-License-Identifier: Apache-2.0
 * Our end of test/interop/ocicrypt.sh: wraps for a public key, unwraps with a private one. Test keys only: it
 * takes and prints them in hex. keywrap-tool wrap DIGEST KEY_HEX PUBLIC.pem…     → annotation keywrap-tool
 * unwrap DIGEST PRIVATE.pem <annotation → key in hex */
#include "crypto/keywrap.h"
#include "proto/base/base64.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int hex_decode(struct secret *out, const char *hex)
{
	if (strlen(hex) != (size_t)2 * SECRET_SIZE)
		return -EINVAL;
	for (size_t i = 0; i < SECRET_SIZE; i++) {
		unsigned v;

		if (sscanf(hex + 2 * i, "%2x", &v) != 1)
			return -EINVAL;
		out->bytes[i] = (uint8_t)v;
	}
	return 0;
}

static int wrap(const struct digest *d, const char *hex, char **paths, int n, struct err *e)
{
	cleanup_buf struct buf annotation = {.max = KEYWRAP_MAX_ANNOTATION};
	struct secret key;
	int r = hex_decode(&key, hex);

	if (r < 0)
		return err_set(e, r, "key is not 64 hex digits");
	for (int i = 0; i < n && r == 0; i++)
		r = keywrap_wrap(&annotation, &key, d, paths[i], e);
	if (r == 0)
		(void)fwrite(annotation.data, 1, annotation.size, stdout);
	return r;
}

static int unwrap(const struct digest *d, const char *path, struct err *e)
{
	static char annotation[KEYWRAP_MAX_ANNOTATION + 2];
	size_t n = fread(annotation, 1, sizeof(annotation) - 1, stdin);
	struct secret key;
	int r;

	annotation[n] = '\0';
	annotation[strcspn(annotation, "\n")] = '\0';
	r = keywrap_unwrap(&key, annotation, d, path, e);
	for (size_t i = 0; r == 0 && i < SECRET_SIZE; i++)
		(void)printf("%02x", key.bytes[i]);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = {""};
	struct digest d;
	int r = -EINVAL;

	if (argc > 4 && strcmp(argv[1], "wrap") == 0 && digest_parse(&d, argv[2]) == 0)
		r = wrap(&d, argv[3], argv + 4, argc - 4, &e);
	else if (argc == 4 && strcmp(argv[1], "unwrap") == 0 && digest_parse(&d, argv[2]) == 0)
		r = unwrap(&d, argv[3], &e);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", *e.text ? e.text : "usage");
	return r < 0 ? 1 : 0;
}
