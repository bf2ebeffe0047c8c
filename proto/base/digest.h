/* SPDX-License-Identifier: Apache-2.0
 * A SHA-256 digest as a name: 32 bytes, and "sha256:<64 lower-case hex>" as OCI writes it
 * (image-spec, descriptor.md, "Digests"). Computing one is crypto/sha256.h's work. */
#ifndef COCOON_BASE_DIGEST_H
#define COCOON_BASE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#define DIGEST_SIZE 32
#define DIGEST_TEXT_SIZE 72 /* "sha256:" + 64 + NUL */
#define DIGEST_HEX_SIZE 65  /* 64 + NUL */

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

/* 0; -EINVAL when the text is not exactly "sha256:" and 64 lower-case hex digits. */
int digest_parse(struct digest *out, const char *text);
/* Write "sha256:…" into `text` and return it. */
const char *digest_text(const struct digest *d, char text[static DIGEST_TEXT_SIZE]);
/* Write the 64 hex digits into `hex` and return it. */
const char *digest_hex(const struct digest *d, char hex[static DIGEST_HEX_SIZE]);
/* Digests are public names: compared in plain time. */
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
