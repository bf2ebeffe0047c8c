/* SPDX-License-Identifier: Apache-2.0
 * Bytes over a connected stream to a host, plain or in TLS, with a deadline on every wait. Descriptors are
 * nonblocking or not, that makes no difference. Any thread. */
#ifndef COCOON_GUESTFS_WIRE_STREAM_H
#define COCOON_GUESTFS_WIRE_STREAM_H

#include "crypto/tls.h"
#include "guestfs/deadline.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct stream {
	int fd;		 /* owned */
	struct tls *tls; /* owned; NULL: a plain stream */
};

/* Over `fd`, owned from now on, also when it fails; in TLS when `tls` is not NULL, which is borrowed.
 * -ENOMEM.
 */
int stream_open(struct stream *out, int fd, const struct tls_endpoint *tls, struct err *e);
void stream_close(struct stream *s);

/* connect(2) has begun: 0 when it is done, and TLS is agreed upon, if that is spoken. Its errors, those of
 * tls_handshake(); -ETIMEDOUT, after which it can be called again to wait on. */
int stream_connected(const struct stream *s, const struct deadline *deadline, struct err *e);

/* At least one byte and at most n; how many in *got. 0, -ECONNRESET at the end of the stream, -ETIMEDOUT, the
 * errors of recv(2) and of tls_receive(). NULL is no deadline: only where no frame has begun, as whoever
 * expects one has a deadline of his own. */
int stream_receive_some(const struct stream *s, void *to, size_t n, size_t *got,
			const struct deadline *deadline);
/* Exactly n; all n. */
int stream_receive(const struct stream *s, void *to, size_t n, const struct deadline *deadline);
int stream_send(const struct stream *s, const uint8_t *p, size_t n, const struct deadline *deadline);

#endif
