/* SPDX-License-Identifier: Apache-2.0
 * Whole ttrpc messages over a connected socket. They may carry keys, so what is freed is wiped. */
#ifndef COCOON_TTRPC_FRAME_H
#define COCOON_TTRPC_FRAME_H

#include "proto/ttrpc/ttrpc.h"

#include <stdint.h>

struct ttrpc_frame {
	struct ttrpc_header header;
	uint8_t *payload; /* owned; header.size bytes */
};

/* -E2BIG for a message that was skipped: the header says whose. Anything else negative ends the connection:
 * -EPROTO, -ENODATA at its end, -EAGAIN when the socket's own time-out passed, other errors of read(2). */
int ttrpc_frame_read(int fd, struct ttrpc_frame *out);
void ttrpc_frame_deinit(struct ttrpc_frame *f);

/* h->size bytes of `payload`. A peer that has gone is -EPIPE and no signal. */
int ttrpc_frame_write(int fd, const struct ttrpc_header *h, const void *payload);

#endif
