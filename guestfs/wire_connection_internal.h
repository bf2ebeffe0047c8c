/* SPDX-License-Identifier: Apache-2.0
 * What the reading side of a connection (wire_connection.c) and its callers (wire_call.c) share; nobody else
 * includes this. */
#ifndef COCOON_GUESTFS_WIRE_CONNECTION_INTERNAL_H
#define COCOON_GUESTFS_WIRE_CONNECTION_INTERNAL_H

#include "guestfs/wire_connection.h"
#include "guestfs/wire_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#define STUBS_MAX 16u /* requests that were given up; with more of them it is the host that is broken */

/* An answer on its way to who asked. */
struct frame {
	STAILQ_ENTRY(frame) next;
	enum wire_status status;
	size_t size;
	uint8_t payload[];
};

STAILQ_HEAD(frame_list, frame);

/* A request under way; lives in the stack frame of its caller. */
struct request {
	LIST_ENTRY(request) entry;
	uint64_t id;
	enum wire_type type;
	size_t n_missing; /* frames that the reader has not begun to receive */
	size_t max_payload;
	uint64_t sent_ms;
	struct frame_list frames;
	pthread_cond_t arrived;
};

LIST_HEAD(request_list, request);

/* What is left of a request that was given up: enough to know its answers. */
struct stub {
	uint64_t id; /* 0: a free place */
	enum wire_type type;
	size_t n_missing;
	size_t max_payload;
};

struct wire_connection {
	struct stream stream;
	pthread_t reader;
	pthread_mutex_t send_lock; /* one whole frame at a time; never taken with `lock` held */
	pthread_mutex_t lock;	   /* guards what follows */
	atomic_bool served;	   /* contents have come; no partner */
	unsigned int refs;
	int broken; /* negative errno when this connection is of no use any more */
	struct err why;
	uint64_t culprit; /* the request whose answer broke it; 0: nobody's */
	struct request_list requests;
	struct stub stubs[STUBS_MAX];
	uint64_t heard_ms; /* when the last answer was complete */
	uint64_t last_id;
	unsigned int n_open, max_open;
	pthread_cond_t room; /* n_open went down, max_open up, or it broke */
	size_t queued;	     /* bytes of answers that are being received or wait */
	pthread_cond_t drained;
};

/* With the lock held. The first reason counts; everyone who waits is told. `why` may be NULL. */
void wire_break_locked(struct wire_connection *c, int code, uint64_t culprit, const struct err *why);
void wire_break(struct wire_connection *c, int code, uint64_t culprit, const struct err *why);

/* One whole frame, at the latest by `deadline`. 0, -ENOMEM, the errors of send(2). */
int wire_send_frame(struct wire_connection *c, enum wire_type type, uint64_t id, const struct buf *payload,
		    const struct deadline *deadline);

/* With the lock held. The stub of request `id`; 0 finds a free place. NULL: there is none. */
struct stub *wire_find_stub(struct wire_connection *c, uint64_t id);
/* With the lock held: one open request less. */
void wire_request_gone(struct wire_connection *c);
/* What it held is free for other answers. */
void wire_frame_free(struct wire_connection *c, struct frame *f);

#endif
