/* SPDX-License-Identifier: Apache-2.0
 * Keys, varints, lengths. Groups (types 3 and 4) are of another age and refused. */
#include "proto/ttrpc/protobuf.h"

#include <errno.h>
#include <string.h>

#define VARINT_MAX_BYTES 10
#define NUMBER_MAX ((UINT32_C(1) << 29) - 1)

/* At most ten bytes, of which the last one has one bit to give. */
static uint64_t varint(struct bytes *b)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_MAX_BYTES; i++) {
		uint8_t byte = bytes_u8(b);

		if (i == VARINT_MAX_BYTES - 1 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80))
			return value;
	}
	b->bad = true;
	return 0;
}

int protobuf_next(struct bytes *message, struct protobuf_field *out, struct err *e)
{
	struct protobuf_field f = {0};
	uint64_t key, size;

	if (bytes_end(message))
		return PROTOBUF_END;
	key = varint(message);
	f.type = (enum protobuf_type)(key & 7);
	switch (f.type) {
	case PROTOBUF_VARINT:
		f.value = varint(message);
		break;
	case PROTOBUF_FIXED64:
		f.value = bytes_le64(message);
		break;
	case PROTOBUF_FIXED32:
		f.value = bytes_le32(message);
		break;
	case PROTOBUF_BYTES:
		size = varint(message);
		if (size > message->left)
			message->bad = true;
		else
			f.bytes = bytes_of(bytes_take(message, (size_t)size), (size_t)size);
		break;
	default:
		message->bad = true;
	}
	if (message->bad || key >> 3 == 0 || key >> 3 > NUMBER_MAX)
		return err_set(e, -EPROTO, "not a protocol buffer");
	f.number = (uint32_t)(key >> 3);
	*out = f;
	return 0;
}

int protobuf_text(char *to, size_t room, const struct protobuf_field *f, const char *what, struct err *e)
{
	size_t n = f->bytes.left;

	if (f->type != PROTOBUF_BYTES)
		return err_set(e, -EPROTO, "%s is not text", what);
	if (n >= room)
		return err_set(e, -E2BIG, "%s has %zu bytes, at most %zu", what, n, room - 1);
	for (size_t i = 0; i < n; i++)
		if (f->bytes.at[i] < 0x20 || f->bytes.at[i] == 0x7f)
			return err_set(e, -EPROTO, "%s has a control character", what);
	if (n > 0)
		memcpy(to, f->bytes.at, n);
	to[n] = '\0';
	return 0;
}

static void put_varint(struct buf *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buf_u8(to, (uint8_t)(value | 0x80));
	buf_u8(to, (uint8_t)value);
}

void protobuf_put_varint(struct buf *to, uint32_t number, uint64_t value)
{
	put_varint(to, (uint64_t)number << 3 | PROTOBUF_VARINT);
	put_varint(to, value);
}

void protobuf_put_bytes(struct buf *to, uint32_t number, const void *p, size_t n)
{
	put_varint(to, (uint64_t)number << 3 | PROTOBUF_BYTES);
	put_varint(to, n);
	buf_put(to, p, n);
}
