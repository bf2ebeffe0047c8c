/* SPDX-License-Identifier: Apache-2.0
 * Requests of one guest, frame by frame, through a small fixed buffer: no guest can make it larger. Internal
 * to the chunk server; one thread. */
#ifndef COCOON_CHUNKSTORE_FRAME_READER_H
#define COCOON_CHUNKSTORE_FRAME_READER_H

#include "chunkstore/guest_stream.h"
#include "proto/base/err.h"
#include "proto/wire/wire.h"

#include <stddef.h>
#include <stdint.h>

#define MAX_REQUEST_PAYLOAD (4 + WIRE_MAX_REFERENCE) /* of OPEN, the longest */

struct frame_reader {
	struct guest_stream *stream; /* borrowed */
	size_t at, end;		     /* unread bytes of `buffer` */
	uint8_t buffer[8 * (WIRE_HEADER_SIZE + MAX_REQUEST_PAYLOAD)];
};

enum frame_answer { FRAME_END = 1 };

/* Wait for the next request; *payload (h->size bytes) is good until the next call. 0; FRAME_END when the
 * guest closed between frames; -EPROTO for a broken frame, -ETIMEDOUT for a begun one that does not go on,
 * -errno. */
int frame_reader_next(struct frame_reader *r, struct wire_header *h, const uint8_t **payload, struct err *e);

#endif
