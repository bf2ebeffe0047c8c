/* SPDX-License-Identifier: Apache-2.0
 * Bytes over a connected stream to a host, with a deadline on every wait. Descriptors are nonblocking or not,
 * that makes no difference; they stay the caller's. Any thread. */
#ifndef COCOON_GUESTFS_WIRE_STREAM_H
#define COCOON_GUESTFS_WIRE_STREAM_H

#include "guestfs/deadline.h"

#include <stddef.h>
#include <stdint.h>

/* connect(2) has begun: 0 when it is done, its errors, -ETIMEDOUT. */
int stream_connected(int fd, const struct deadline *deadline);

/* At least one byte and at most n; how many in *got. 0, -ECONNRESET at the end of the stream, -ETIMEDOUT, the
 * errors of recv(2). NULL is no deadline: only where no frame has begun, as whoever expects one has a
 * deadline of his own. */
int stream_receive_some(int fd, void *to, size_t n, size_t *got, const struct deadline *deadline);
int stream_receive(int fd, void *to, size_t n, const struct deadline *deadline); /* exactly n */
int stream_send(int fd, const uint8_t *p, size_t n, const struct deadline *deadline);

#endif
