/* SPDX-License-Identifier: Apache-2.0
 * JSON text in which one member is a secret. The JSON library's scanner leaves copies of what it reads in
 * freed memory, so the secret is taken out of the text and blanked before the library sees it. Internal to
 * crypto/. */
#ifndef COCOON_CRYPTO_JSON_SECRET_H
#define COCOON_CRYPTO_JSON_SECRET_H

#include "proto/base/bytes.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What stands in the text where the secret was: a string of asterisks. */
struct json_blank {
	const char *text; /* borrowed from the JSON text */
	size_t n;
};

/* What a member of bytes may look like: Go's JSON writes them as base64, Rust's as a list of numbers. */
enum json_bytes { JSON_BASE64, JSON_BASE64_OR_LIST };

/* Append the bytes of the member `name` to `to` (from buf_init_secret()) and blank it. 0; -ENOENT when it
 * does not stand there exactly once, with a value of that kind; -EINVAL when its value is malformed; -E2BIG
 * when `to` is too small. It is blanked whatever `to` said. */
int json_secret_take(struct json_blank *out, struct buf *to, char *text, size_t size, const char *name,
		     enum json_bytes kind);

/* Is this value, of the text parsed afterwards, the blank? */
bool json_is_blank(const json_t *value, const struct json_blank *blank);

#endif
