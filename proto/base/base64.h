/* SPDX-License-Identifier: Apache-2.0
 * Base64 (RFC 4648) in the two shapes that we meet, read strictly: no white space, no foreign character, no
 * missing or surplus padding, no bits that say nothing. So one text stands for one value. Any thread. */
#ifndef COCOON_BASE_BASE64_H
#define COCOON_BASE_BASE64_H

#include "proto/base/bytes.h"

#include <stddef.h>

enum base64_kind {
	BASE64_STANDARD, /* + and /, padded with = */
	BASE64_URL,	 /* - and _, not padded: base64url of RFC 7515 */
};

/* Characters that n bytes become. */
size_t base64_size(enum base64_kind kind, size_t n);

/* Append; ask buf_failed() in the end. */
void base64_encode(struct buf *to, enum base64_kind kind, const void *p, size_t n);

/* Append the bytes of n characters. 0; -EINVAL when the text is not base64 (`to` may then hold its
 * beginning); -E2BIG when `to` is full. */
int base64_decode(struct buf *to, enum base64_kind kind, const char *text, size_t n);

#endif
