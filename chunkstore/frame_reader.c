/* SPDX-License-Identifier: Apache-2.0
 * A guest may be silent for ever between frames, but not within one. */
#include "chunkstore/frame_reader.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* Read what there is, until `need` bytes are in the buffer. */
static int fill(struct frame_reader *r, size_t need, struct err *e)
{
	if (r->at + need > sizeof(r->buffer)) {
		memmove(r->buffer, r->buffer + r->at, r->end - r->at);
		r->end -= r->at;
		r->at = 0;
	}
	while (r->end - r->at < need) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		int ready = poll(&p, 1, r->end > r->at ? (int)r->stall_ms : -1);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return err_set(e, -ETIMEDOUT, "stalled within a frame");
		n = ready < 0 ? -1
			      : recv(r->fd, r->buffer + r->end, sizeof(r->buffer) - r->end, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return err_errno(e, -errno, "receive");
		if (n == 0)
			return r->end > r->at ? err_set(e, -EPROTO, "closed within a frame") : FRAME_END;
		r->end += (size_t)n;
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
