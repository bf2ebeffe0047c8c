/* SPDX-License-Identifier: Apache-2.0
 * The bounded cursor and the growing buffer. */
#include "proto/base/bytes.h"
#include "proto/base/memory.h"

#include <stdlib.h>
#include <string.h>

const uint8_t *bytes_take(struct bytes *b, size_t n)
{
	const uint8_t *p = b->at;

	if (b->bad || n > b->left) {
		b->bad = true;
		return NULL;
	}
	b->at += n;
	b->left -= n;
	return p;
}

void bytes_copy(struct bytes *b, void *to, size_t n)
{
	const uint8_t *p = bytes_take(b, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

void bytes_zero(struct bytes *b, size_t n)
{
	const uint8_t *p = bytes_take(b, n);

	for (size_t i = 0; p && i < n; i++)
		if (p[i])
			b->bad = true;
}

uint8_t bytes_u8(struct bytes *b)
{
	uint8_t v;

	bytes_copy(b, &v, 1);
	return v;
}

uint16_t bytes_le16(struct bytes *b)
{
	uint8_t v[2];

	bytes_copy(b, v, sizeof(v));
	return get_le16(v);
}

uint32_t bytes_le32(struct bytes *b)
{
	uint8_t v[4];

	bytes_copy(b, v, sizeof(v));
	return get_le32(v);
}

uint64_t bytes_le64(struct bytes *b)
{
	uint8_t v[8];

	bytes_copy(b, v, sizeof(v));
	return get_le64(v);
}

bool bytes_end(const struct bytes *b)
{
	return !b->bad && b->left == 0;
}

uint16_t get_le16(const uint8_t p[static 2])
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t get_le32(const uint8_t p[static 4])
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t get_le64(const uint8_t p[static 8])
{
	return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

void put_le16(uint8_t p[static 2], uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void put_le32(uint8_t p[static 4], uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16(p + 2, (uint16_t)(v >> 16));
}

void put_le64(uint8_t p[static 8], uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_init_secret(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max, .secret = true};
}

void buf_deinit(struct buf *b)
{
	if (b->secret && b->data)
		explicit_bzero(b->data, b->room);
	free(b->data);
	*b = (struct buf){.max = b->max, .secret = b->secret};
}

/* realloc() could leave the old bytes in freed memory. */
static uint8_t *move(struct buf *b, size_t room)
{
	uint8_t *data;

	if (!b->secret)
		return memory_note(realloc(b->data, room));
	data = memory_note(malloc(room));
	if (data && b->data) {
		memcpy(data, b->data, b->size);
		explicit_bzero(b->data, b->room);
		free(b->data);
	}
	return data;
}

/* Make room for n more bytes and return where they go; NULL (and failed) when that is not possible. */
static uint8_t *grow(struct buf *b, size_t n)
{
	if (b->failed || n > b->max - b->size) {
		b->failed = true;
		return NULL;
	}
	if (n > b->room - b->size) {
		size_t room = b->room ? b->room : 256;
		uint8_t *data;

		while (room < b->size + n)
			room = room > b->max / 2 ? b->max : room * 2;
		data = move(b, room);
		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->room = room;
	}
	b->size += n;
	return b->data + b->size - n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to = n ? grow(b, n) : NULL;

	if (to)
		memcpy(to, p, n);
}

void buf_zero(struct buf *b, size_t n)
{
	uint8_t *to = n ? grow(b, n) : NULL;

	if (to)
		memset(to, 0, n);
}

void buf_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

void buf_le16(struct buf *b, uint16_t v)
{
	uint8_t p[2];

	put_le16(p, v);
	buf_put(b, p, sizeof(p));
}

void buf_le32(struct buf *b, uint32_t v)
{
	uint8_t p[4];

	put_le32(p, v);
	buf_put(b, p, sizeof(p));
}

void buf_le64(struct buf *b, uint64_t v)
{
	uint8_t p[8];

	put_le64(p, v);
	buf_put(b, p, sizeof(p));
}
