/* SPDX-License-Identifier: Apache-2.0
 * The walk over the wire form is a cursor over (tag, value) pairs; it looks only at strings and descends into
 * sub-messages. The arena is a list of blocks from malloc; protobuf-c's free does nothing. */
#include "snapshotter/message.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 4096u
#define MAX_DEPTH 8

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	alignas(max_align_t) uint8_t bytes[];
};

void arena_init(struct arena *a, size_t budget)
{
	*a = (struct arena){.budget = budget};
}

void arena_deinit(struct arena *a)
{
	for (struct arena_block *b = a->blocks; b;) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
	a->blocks = NULL;
	a->used = 0;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *b = a->blocks;
	void *p;

	if (n > a->budget)
		return NULL;
	n = n ? (n + align - 1) / align * align : align;
	if (!b || b->size - b->used < n) {
		size_t size = n > BLOCK_SIZE ? n : BLOCK_SIZE;
		size_t total = sizeof(*b) + size;

		if (total > a->budget - a->used)
			return NULL;
		b = malloc(total);
		if (!b)
			return NULL;
		*b = (struct arena_block){.next = a->blocks, .size = size};
		a->blocks = b;
		a->used += total;
	}
	p = b->bytes + b->used;
	b->used += n;
	return p;
}

/* ---- The wire form ---- */

struct walk {
	const uint8_t *at, *end;
};

static bool read_varint(struct walk *w, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
		uint8_t byte = *w->at++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = v;
			return true;
		}
	}
	return false;
}

/* Unicode 15, table 3-7: well-formed UTF-8; NUL is not taken as text. */
static bool text_is_valid(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint8_t c = p[i++];
		uint8_t low = 0x80, high = 0xbf;
		size_t more;

		if (c == 0)
			return false;
		if (c < 0x80)
			continue;
		if (c >= 0xc2 && c <= 0xdf)
			more = 1;
		else if (c >= 0xe0 && c <= 0xef)
			more = 2;
		else if (c >= 0xf0 && c <= 0xf4)
			more = 3;
		else
			return false;
		if (c == 0xe0)
			low = 0xa0;
		else if (c == 0xed)
			high = 0x9f;
		else if (c == 0xf0)
			low = 0x90;
		else if (c == 0xf4)
			high = 0x8f;
		if (n - i < more || p[i] < low || p[i] > high)
			return false;
		for (size_t k = 1; k < more; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		i += more;
	}
	return true;
}

static int check(const ProtobufCMessageDescriptor *type, struct walk w, unsigned depth, struct err *e);

static int check_value(const ProtobufCFieldDescriptor *field, struct walk value, unsigned depth,
		       struct err *e)
{
	if (!field)
		return 0;
	if (field->type == PROTOBUF_C_TYPE_STRING && !text_is_valid(value.at, (size_t)(value.end - value.at)))
		return err_set(e, -EINVAL, "field %s is not UTF-8 text", field->name);
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return check(field->descriptor, value, depth + 1, e);
	return 0;
}

static int check(const ProtobufCMessageDescriptor *type, struct walk w, unsigned depth, struct err *e)
{
	if (depth > MAX_DEPTH)
		return err_set(e, -EINVAL, "nested too deep");
	while (w.at < w.end) {
		const ProtobufCFieldDescriptor *field;
		uint64_t tag, n;
		int r;

		if (!read_varint(&w, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return err_set(e, -EINVAL, "%s: bad tag", type->short_name);
		field = protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
		switch (tag & 7) {
		case PROTOBUF_C_WIRE_TYPE_VARINT:
			if (!read_varint(&w, &n))
				return err_set(e, -EINVAL, "%s: bad integer", type->short_name);
			continue;
		case PROTOBUF_C_WIRE_TYPE_64BIT:
			n = 8;
			field = NULL;
			break;
		case PROTOBUF_C_WIRE_TYPE_32BIT:
			n = 4;
			field = NULL;
			break;
		case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
			if (!read_varint(&w, &n))
				return err_set(e, -EINVAL, "%s: bad length", type->short_name);
			break;
		default:
			return err_set(e, -EINVAL, "%s: bad wire type", type->short_name);
		}
		if (n > (uint64_t)(w.end - w.at))
			return err_set(e, -EINVAL, "%s: field past the end", type->short_name);
		r = check_value(field, (struct walk){w.at, w.at + n}, depth, e);
		if (r < 0)
			return r;
		w.at += n;
	}
	return 0;
}

/* ---- protobuf-c's allocator ---- */

struct attempt {
	struct arena *arena;
	bool refused;
};

static void *allocate(void *data, size_t n)
{
	struct attempt *t = data;
	void *p = arena_alloc(t->arena, n);

	if (!p)
		t->refused = true;
	return p;
}

static void release(void *data, void *p)
{
	(void)data;
	(void)p;
}

int message_decode(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, const void *bytes,
		   size_t size, struct arena *a, struct err *e)
{
	struct attempt attempt = {.arena = a};
	ProtobufCAllocator allocator = {.alloc = allocate, .free = release, .allocator_data = &attempt};
	const uint8_t *p = bytes;
	ProtobufCMessage *m;
	int r = check(type, (struct walk){p, p + size}, 0, e);

	if (r < 0)
		return r;
	m = protobuf_c_message_unpack(type, &allocator, size, p);
	if (!m && attempt.refused)
		return err_set(e, -E2BIG, "%s: needs too much memory", type->short_name);
	if (!m)
		return err_set(e, -EINVAL, "%s: cannot be decoded", type->short_name);
	*out = m;
	return 0;
}
