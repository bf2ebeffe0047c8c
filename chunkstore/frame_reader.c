/* SPDX-License-Identifier: Apache-2.0
 * A guest may be silent for ever between frames, but not within one. */
#include "chunkstore/frame_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Read what there is, until `need` bytes are in the buffer. */
static int fill(struct frame_reader *r, size_t need, struct err *e)
{
	if (r->at + need > sizeof(r->buffer)) {
		memmove(r->buffer, r->buffer + r->at, r->end - r->at);
		r->end -= r->at;
		r->at = 0;
	}
	while (r->end - r->at < need) {
		bool begun = r->end > r->at;
		size_t n = 0;
		int x = guest_stream_receive(r->stream, r->buffer + r->end, sizeof(r->buffer) - r->end,
					     begun ? (int)r->stream->stall_ms : -1, &n);

		if (x == -ETIMEDOUT)
			return err_set(e, x, "stalled within a frame");
		if (x == -ECONNRESET)
			return begun ? err_set(e, -EPROTO, "closed within a frame") : FRAME_END;
		if (x < 0)
			return err_errno(e, x, "receive");
		r->end += n;
	}
	return 0;
}

int frame_reader_next(struct frame_reader *r, struct wire_header *h, const uint8_t **payload, struct err *e)
{
	int x = fill(r, WIRE_HEADER_SIZE, e);

	if (x != 0)
		return x;
	x = wire_header_decode(h, r->buffer + r->at, true, e);
	if (x < 0)
		return x;
	if (h->size > MAX_REQUEST_PAYLOAD)
		return err_set(e, -EPROTO, "request of %u bytes", h->size);
	x = fill(r, WIRE_HEADER_SIZE + h->size, e);
	if (x != 0)
		return x;
	*payload = r->buffer + r->at + WIRE_HEADER_SIZE;
	r->at += WIRE_HEADER_SIZE + h->size;
	return 0;
}
