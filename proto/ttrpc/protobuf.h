/* SPDX-License-Identifier: Apache-2.0
 * Protocol buffers' encoding, as far as the few messages of ttrpc need it: fields one after another, varints
 * and strings of bytes. Nothing is allocated and nothing is kept: a message is walked through once, and what
 * it says is copied or borrowed by who walks. (protobuf.dev/programming-guides/encoding) */
#ifndef COCOON_TTRPC_PROTOBUF_H
#define COCOON_TTRPC_PROTOBUF_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

enum protobuf_type { PROTOBUF_VARINT = 0, PROTOBUF_FIXED64 = 1, PROTOBUF_BYTES = 2, PROTOBUF_FIXED32 = 5 };

struct protobuf_field {
	uint32_t number; /* 1 … 2^29 − 1 */
	enum protobuf_type type;
	uint64_t value;	    /* of a varint or a fixed number */
	struct bytes bytes; /* borrowed */
};

/* The next field. 0; PROTOBUF_END when there is none; -EPROTO for what is no message. */
enum { PROTOBUF_END = 1 };
int protobuf_next(struct bytes *message, struct protobuf_field *out, struct err *e);

/* Copy a field of text: valid UTF-8 is not asked for, but NUL and control characters are refused (-EPROTO),
 * as is what does not fit with its NUL (-E2BIG). */
int protobuf_text(char *to, size_t room, const struct protobuf_field *f, const char *what, struct err *e);

void protobuf_put_varint(struct buf *to, uint32_t number, uint64_t value);
void protobuf_put_bytes(struct buf *to, uint32_t number, const void *p, size_t n);

#endif
