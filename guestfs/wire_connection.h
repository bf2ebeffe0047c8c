/* SPDX-License-Identifier: Apache-2.0
 * One live connection to a host: requests of many threads in flight at once, one thread that reads answers
 * and hands each to the request it belongs to. The host may be hostile: an answer is bounded by what its
 * request allows before memory is spent on it, and whatever breaks proto/WIRE.md breaks the connection, for
 * ever. Reference counted, any thread. */
#ifndef COCOON_GUESTFS_WIRE_CONNECTION_H
#define COCOON_GUESTFS_WIRE_CONNECTION_H

#include "guestfs/deadline.h"
#include "guestfs/wire_stream.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/wire/address.h"
#include "proto/wire/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_connection;

/* A non-blocking socket to `address`, connected or about to be. The errors of socket(2) and connect(2). */
int wire_dial(const struct address *address, struct err *e);
/* Over a stream that is connected, owned from then on: say HELLO, without waiting for its answer. -ENOMEM,
 * the errors of sending. */
int wire_adopt(struct wire_connection **out, struct stream stream, struct err *e);

struct wire_connection *wire_connection_ref(struct wire_connection *c);
void wire_connection_unref(struct wire_connection *c); /* the last one closes. NULL is fine */

bool wire_connection_broken(struct wire_connection *c);
/* Has it brought contents of an image? Then what the host has called it there is right. */
bool wire_connection_served(const struct wire_connection *c);
void wire_connection_break(struct wire_connection *c); /* all calls end with -ESHUTDOWN */

/* One answer frame of a call, in the calling thread; `payload` is borrowed. Return 0, or a negative errno
 * with words when the answer is not one to this request: that breaks the connection. */
typedef int wire_answer(void *arg, enum wire_status status, const uint8_t *payload, size_t size,
			struct err *e);

struct wire_call {
	enum wire_type type;
	const struct buf *payload;
	size_t n_answers;   /* frames that will come */
	size_t max_payload; /* bytes of any of them */
	wire_answer *answer;
	void *arg;
	unsigned int silence_ms; /* 0: a host that does not answer this request is of no use any more */
};

/* Send a request and wait for all its answers. 0; -ETIMEDOUT at the deadline; when the connection broke, what
 * broke it: -EPROTO when an answer to this request, or to none, broke the rules; -ECONNABORTED when another's
 * did, or never came; -ECONNRESET and the like; -ENOTSUP for a host of another version; -ENOMEM. Answers may
 * have been handed out before any of these.
 *
 * A request that nobody answers does not break the connection of all others: when the host said something
 * within the `silence_ms` before the deadline, only this request is given up, and its late answers are read
 * and dropped. Otherwise, or when too many are given up like that, it is broken. */
int wire_call(struct wire_connection *c, const struct wire_call *call, const struct deadline *deadline,
	      struct err *e);

#endif
