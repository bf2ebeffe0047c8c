/* SPDX-License-Identifier: Apache-2.0
 * A ttrpc service that answers at most one method itself and hands everything else on, as it came, to the one
 * behind it: each connection over a connection of its own there, with the caller's stream numbers. Callers
 * are not to lose their connection when the one behind is away or restarts: calls fail with "unavailable"
 * meanwhile, and the next one connects again. All are inside the guest and trusted; sizes and numbers are
 * bounded all the same. */
#ifndef COCOON_GUESTFS_PODS_RELAY_H
#define COCOON_GUESTFS_PODS_RELAY_H

#include "proto/base/err.h"
#include "proto/ttrpc/ttrpc.h"
#include "proto/wire/address.h"

struct relay;

/* A call of the relay's own method, in a thread of its own. `reply` is the payload to answer with. 0;
 * RELAY_HAND_ON when it is for the one behind after all; or a negative errno with words, which become the
 * caller's status (ttrpc_code_of()). */
enum { RELAY_HAND_ON = 1 };
typedef int relay_method(void *arg, const struct ttrpc_request *request, struct buf *reply, struct err *e);

struct relay_options {
	const char *service, *method; /* the own one's; NULL: none. Borrowed, as is the rest */
	relay_method *call;
	void *arg;
	const struct address *behind; /* NULL: there is none, all else is "unimplemented" */
	const char *name;	      /* of the one behind, in words */
};

#define RELAY_CONNECTIONS 32u
#define RELAY_CALLS 64u	    /* of the own method, under way */
#define RELAY_STREAMS 1024u /* of one connection, under way behind */

/* Serve the listening descriptor, which stays the caller's. */
int relay_start(struct relay **out, int listener, const struct relay_options *options, struct err *e);
/* Ends all connections, waits for calls of the own method. NULL is fine. */
void relay_stop(struct relay *r);

#endif
