/* SPDX-License-Identifier: Apache-2.0
 * An image opened at a host, over whatever connection there is at the moment: made when it is needed, made
 * again when it breaks, always with the image that was opened first. Any thread. */
#ifndef COCOON_GUESTFS_WIRE_SESSION_H
#define COCOON_GUESTFS_WIRE_SESSION_H

#include "guestfs/wire_connection.h"
#include "proto/base/digest.h"
#include "proto/oci/reference.h"

#include <pthread.h>
#include <stdatomic.h>

#define BACKOFF_FIRST_MS 20u
#define FAILURE_MAX_PAYLOAD (4u + WIRE_MAX_WORDS)

/* A named answer: what failed may work on the next attempt. */
enum { TRY_AGAIN = 1 };

struct wire_session {
	struct address address;
	struct reference reference;
	unsigned int timeout_ms;
	atomic_bool away;     /* the last request ran to its deadline; a hint, no partner */
	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	pthread_cond_t changed;
	struct wire_connection *connection; /* NULL: none yet */
	uint32_t handle;		    /* of the image, on that connection */
	bool stopped;
	bool connecting; /* one thread makes a new one, others wait for it */
	bool opened;	 /* once: what follows is the image from then on */
	struct digest manifest;
	uint8_t descriptor[DESCRIPTOR_SIZE];
};

/* The caller fills in address, reference and timeout_ms. */
void wire_session_init(struct wire_session *w);
void wire_session_deinit(struct wire_session *w); /* no call is running */
/* Calls fail from now on with -ESHUTDOWN, also those that wait. */
void wire_session_stop(struct wire_session *w);

/* The first time: appends the manifest. Every failure is final but those that the host itself calls passing:
 * whoever mounts wants to know what is wrong with the address or the host. */
int wire_session_open(struct wire_session *w, struct buf *manifest, struct err *e);

/* A connection that works, as far as is known, and the image's handle on it. The caller unrefs it. 0,
 * TRY_AGAIN, or a negative errno: -EBADMSG when the host has another image now, -ENOENT, -EACCES …,
 * -ESHUTDOWN. */
int wire_session_connection(struct wire_session *w, struct wire_connection **out, uint32_t *handle,
			    const struct deadline *deadline, struct err *e);

/* When a request that begins now has to be done. A host that let one request run to its deadline is not
 * waited for as long by the next ones, until it answers again: a reader of a thousand files must not wait a
 * thousand times. */
struct deadline wire_session_deadline(const struct wire_session *w);
/* What a request came to: -ETIMEDOUT says that the host is away, 0 that it is not. */
void wire_session_note(struct wire_session *w, int r);

/* Wait a little longer each time. False when that would be past the deadline. */
bool back_off(unsigned int *ms, const struct deadline *deadline);

/* What wire_call() returned, once the image is open: 0, TRY_AGAIN, or what cannot pass. */
int call_result(const struct wire_session *w, int r);
/* A status other than OK: TRY_AGAIN, or the host's last word as a negative errno. */
int status_result(enum wire_status status);

/* A call with one answer. `result` is what the host decided; what is not an answer at all breaks the
 * connection. */
struct single {
	int (*accept)(struct single *s, const uint8_t *payload, size_t size, struct err *e);
	struct wire_session *w;
	void *to; /* accept's */
	size_t n;
	uint32_t handle;
	int result;
};
wire_answer single_answer; /* over a struct single */

#endif
