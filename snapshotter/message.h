/* SPDX-License-Identifier: Apache-2.0
 * A protobuf message from outside. protobuf-c takes what proto3 forbids (a NUL or invalid UTF-8 inside a
 * string) and may spend fifty times the size of the wire form; so the bytes are first walked along the
 * descriptor, and the unpacked message lives in an arena with a budget. */
#ifndef COCOON_SNAPSHOTTER_MESSAGE_H
#define COCOON_SNAPSHOTTER_MESSAGE_H

#include "proto/base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that is given out piece by piece and taken back at once. */
struct arena {
	struct arena_block *blocks;
	size_t used, budget; /* bytes, blocks' own headers included */
};

void arena_init(struct arena *a, size_t budget);
void arena_deinit(struct arena *a);
/* NULL when there is no memory or the budget is spent. Aligned for any type. */
void *arena_alloc(struct arena *a, size_t n);

/* Decode `size` bytes as a message of type `type`; *out lives in `a` (do not free it: arena_deinit() does)
 * and borrows nothing. Messages may nest 8 deep. -EINVAL: not such a message; -E2BIG: it needs more memory
 * than the arena has left. */
int message_decode(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type, const void *bytes,
		   size_t size, struct arena *a, struct err *e);

#endif
