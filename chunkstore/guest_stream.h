/* SPDX-License-Identifier: Apache-2.0
 * Bytes over a connected stream to a guest, plain or in TLS, no wait longer than the stall limit. One thread
 * receives, one sends. Internal to the chunk server. */
#ifndef COCOON_CHUNKSTORE_GUEST_STREAM_H
#define COCOON_CHUNKSTORE_GUEST_STREAM_H

#include "crypto/tls.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_stream {
	int fd; /* owned */
	unsigned stall_ms;
	struct tls *tls; /* owned; NULL: a plain stream */
	uint8_t *record; /* with TLS: bytes that wait for more, so that few records carry them */
	size_t used;
};

/* Over `fd`, owned from now on, also when it fails; in TLS when `tls` is not NULL, which is borrowed.
 * -ENOMEM.
 */
int guest_stream_open(struct guest_stream *s, int fd, const struct tls_endpoint *tls, unsigned stall_ms);
void guest_stream_close(struct guest_stream *s);

/* With TLS, before anything else: agree upon it within `timeout_ms` in all. 0, -ETIMEDOUT, the errors of
 * tls_handshake(); words with all of them. */
int guest_stream_handshake(struct guest_stream *s, unsigned timeout_ms, struct err *e);

/* At least one byte, at most n. 0; -ECONNRESET at the end of the stream; -ETIMEDOUT when none comes for
 * `timeout_ms` (-1: for ever); -errno. */
int guest_stream_receive(struct guest_stream *s, void *to, size_t n, int timeout_ms, size_t *got);

/* All n bytes; `more` follow at once. 0; -ETIMEDOUT when the guest does not read; -errno. */
int guest_stream_send(struct guest_stream *s, const void *p, size_t n, bool more);
/* n bytes of the file at `offset`, and nothing waits after them. As above; -ENODATA when it is shorter. */
int guest_stream_send_file(struct guest_stream *s, int file, size_t n, uint64_t offset);

#endif
