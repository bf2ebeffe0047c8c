/* SPDX-License-Identifier: Apache-2.0
 * Calling a ttrpc service: one call at a time over one connection, each wait with a time-out. */
#ifndef COCOON_TTRPC_CLIENT_H
#define COCOON_TTRPC_CLIENT_H

#include "proto/ttrpc/ttrpc.h"
#include "proto/wire/address.h"

struct ttrpc_client {
	int fd; /* -1: none */
	uint32_t stream;
	unsigned int timeout_ms;
};

/* Connect; a call waits for at most timeout_ms each time that it waits. 0; the errors of connect(2). */
int ttrpc_client_open(struct ttrpc_client *out, const struct address *address, unsigned int timeout_ms,
		      struct err *e);
void ttrpc_client_close(struct ttrpc_client *c); /* may be closed before */

/* Call `method` of `service`, and append the payload of the answer to `reply` (from buf_init_secret() when it
 * is one; no other copy is left). A refusal is what ttrpc_error_of() makes of its code, with the service's
 * words; -ETIMEDOUT; -ECONNRESET when the service ended the connection; -EPROTO for what is no answer; -E2BIG
 * when `reply` is too small. The connection is of no use after the last four. */
int ttrpc_client_call(struct ttrpc_client *c, const char *service, const char *method, struct bytes payload,
		      struct buf *reply, struct err *e);

#endif
