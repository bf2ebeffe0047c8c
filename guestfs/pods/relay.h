/* SPDX-License-Identifier: Apache-2.0
 * The pod's agent speaks ttrpc with the Confidential Data Hub (CDH) on one socket. The relay stands in
 * between: it answers one method itself and hands everything else on as it is, each of the agent's
 * connections over a connection of its own to CDH, with the agent's stream numbers. The agent connects once
 * in the life of a VM, so a CDH that is away or restarts must not cost it its connection: calls fail with
 * "unavailable" meanwhile. Both ends are inside the guest and trusted; sizes and numbers are bounded all the
 * same. */
#ifndef COCOON_GUESTFS_PODS_RELAY_H
#define COCOON_GUESTFS_PODS_RELAY_H

#include "proto/base/err.h"
#include "proto/ttrpc/ttrpc.h"
#include "proto/wire/address.h"

struct relay;

/* A call of the relay's own method, in a thread of its own. `reply` is the payload to answer with. 0, or a
 * negative errno with words, which become the caller's status. */
typedef int relay_method(void *arg, const struct ttrpc_request *request, struct buf *reply, struct err *e);

struct relay_options {
	const char *service, *method; /* the own one's; borrowed, as is the rest */
	relay_method *call;
	void *arg;
	const struct address *cdh; /* NULL: there is none, all else is "unimplemented" */
};

#define RELAY_CONNECTIONS 32u
#define RELAY_CALLS 64u	    /* of the own method, under way */
#define RELAY_STREAMS 1024u /* of one connection, under way at CDH */

/* Serve the listening descriptor, which is owned from then on, also on failure. */
int relay_start(struct relay **out, int listener, const struct relay_options *options, struct err *e);
/* Ends all connections, waits for calls of the own method. NULL is fine. */
void relay_stop(struct relay *r);

#endif
