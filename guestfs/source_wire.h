/* SPDX-License-Identifier: Apache-2.0
 * A source over the wire to a host (proto/WIRE.md). One connection carries the requests of all threads; when
 * it breaks it is made again with back-off, and the image is opened again by the digest of the manifest that
 * came first, so that a host cannot change it under a mount. Every wait ends by `timeout_ms`; what is waited
 * for and what is not stands in wire_session.h. */
#ifndef COCOON_GUESTFS_SOURCE_WIRE_H
#define COCOON_GUESTFS_SOURCE_WIRE_H

#include "crypto/tls.h"
#include "guestfs/source.h"
#include "proto/base/err.h"
#include "proto/oci/reference.h"

#define SOURCE_WIRE_TIMEOUT_MS 30000

struct source_wire_options {
	const char *address;		   /* what address_parse_host() takes */
	const struct reference *reference; /* of a registry: copied */
	/* Makes each connection, as wire_dial() does, for a process that may not; NULL: this one may. One
	 * thread at a time. */
	int (*dial)(void *arg, struct err *e);
	void *dial_arg;
	/* With the pin of a tls: address, which needs it; borrowed, and lives longer. */
	const struct tls_endpoint *tls;
	unsigned int timeout_ms; /* for one request with all its retries; 0 means SOURCE_WIRE_TIMEOUT_MS */
	unsigned int wait_ms;	 /* open() waits so long for a host that is not there */
};

/* Nothing is sent yet: the source's open() connects. 0, -EINVAL for an address or reference that cannot be
 * asked for, -ENOMEM. Close with source->ops->close(). */
int source_wire_new(struct source **out, const struct source_wire_options *options, struct err *e);

#endif
