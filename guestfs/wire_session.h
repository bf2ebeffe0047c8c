/* SPDX-License-Identifier: Apache-2.0
 * An image opened at a host, over whatever connection there is at the moment: made when it is needed, made
 * again when it breaks, always with the image that was opened first. And how long a host that fails is waited
 * for, which has to be patient with one that restarts and quick with one that lies:
 *
 * - What is final is told at once, and asked again by the next read: wrong bytes, a refusal.
 * - A host that is away (no connection, one that breaks, no answer) is waited for **once**: the time-out runs
 *   from when it was lost. Who comes later asks once, unless that has just been done. It is back with the
 * next answer; and after twice the time-out without an attempt nobody knows, so it is waited for again.
 * - What the host calls passing for its own reasons (UNAVAILABLE, BUSY) is waited for once in the same way.
 * - A chunk for which the host fails (INTERNAL) or breaks the rules is asked for WIRE_TRIES times with
 *   back-off. A chunk that failed in the end is remembered (source_wire.c).
 *
 * Any thread. */
#ifndef COCOON_GUESTFS_WIRE_SESSION_H
#define COCOON_GUESTFS_WIRE_SESSION_H

#include "guestfs/wire_connection.h"
#include "proto/base/digest.h"
#include "proto/oci/reference.h"

#include <pthread.h>
#include <stdatomic.h>

#define FAILURE_MAX_PAYLOAD (4u + WIRE_MAX_WORDS)
#define BACKOFF_FIRST_MS 20u
#define BACKOFF_MAX_MS 1000u
#define WIRE_TRIES 5u

/* A named answer: what failed may work on the next attempt. */
enum { TRY_AGAIN = 1 };

/* Something is away since then. */
struct outage {
	bool on;
	uint64_t since_ms, last_ms;
};

struct wire_session {
	struct address address;
	int (*dial)(void *arg, struct err *e); /* NULL: wire_dial() of the address */
	void *dial_arg;
	const struct tls_endpoint *tls; /* NULL: plain streams */
	struct reference reference;
	unsigned int timeout_ms, wait_ms;
	atomic_uint_fast64_t reconnects, timeouts; /* counters: no partner */
	atomic_bool unsettled; /* something failed since the last answer; spares the lock when all is well: no
				  partner */
	pthread_mutex_t lock;  /* guards what follows; never held across I/O */
	pthread_cond_t changed;
	struct wire_connection *connection; /* NULL: none yet */
	struct wire_connection *candidate;  /* that is being made, for stop */
	uint32_t handle;		    /* of the image, on that connection */
	bool stopped;
	bool connecting;	 /* one thread makes a new one, others wait for it */
	unsigned int backoff_ms; /* after the next attempt to connect */
	uint64_t retry_ms;	 /* not before this time */
	uint64_t once_ms;	 /* nor, for who asks once, before this one */
	int failure;		 /* of the last attempt; 0: it worked */
	bool refused;		 /* and asking again soon is pointless */
	struct err why;
	struct outage host, upstream; /* upstream: what the host itself waits for */
	bool told;		      /* that the host is lost */
	uint64_t told_ms;
	bool opened; /* once: what follows is the image from then on */
	struct digest manifest;
	uint8_t descriptor[DESCRIPTOR_SIZE];
};

/* The caller fills in address, dial, tls, reference, timeout_ms and wait_ms. */
void wire_session_init(struct wire_session *w);
void wire_session_deinit(struct wire_session *w); /* no call is running */
/* Calls fail from now on with -ESHUTDOWN, also those that wait. */
void wire_session_stop(struct wire_session *w);

/* The first time: appends the manifest. A host that is not there is waited for up to wait_ms, one that says
 * that its failure passes up to timeout_ms; every other failure is final: whoever mounts wants to know what
 * is wrong with the address or the host. */
int wire_session_open(struct wire_session *w, struct buf *manifest, struct err *e);

/* What a request that begins now may take, with all its attempts. */
struct patience {
	struct deadline deadline;
	bool once;		 /* one attempt is all it is worth */
	unsigned int tries;	 /* that are left where they are counted */
	bool counted;		 /* the last attempt failed in such a way */
	unsigned int backoff_ms; /* before the next attempt; settled again after progress */
};

struct patience wire_session_patience(struct wire_session *w);
/* For what failed a moment ago. */
struct patience wire_session_impatience(struct wire_session *w);

/* A connection that works, as far as is known, and the image's handle on it. The caller unrefs it. 0, or a
 * negative errno for which it has been tried long enough: -ETIMEDOUT, -EBADMSG when the host has another
 * image now, -ENOENT, -EACCES, -ENOTSUP for a host of another version …, -ESHUTDOWN. */
int wire_session_connection(struct wire_session *w, struct wire_connection **out, uint32_t *handle,
			    const struct patience *p, struct err *e);

/* wire_call() on what wire_session_connection() gave. 0, TRY_AGAIN, or a negative errno. */
int wire_session_call(struct wire_session *w, struct wire_connection *c, struct wire_call *call,
		      struct patience *p, struct err *e);

/* A status other than OK: TRY_AGAIN, -EREMOTEIO when that has been done long enough, or the host's last word.
 */
int wire_session_status(struct wire_session *w, enum wire_status status, struct patience *p);
bool wire_session_is_lost(struct wire_session *w);
/* Something that was waited for because of a status has come. */
void wire_session_upstream_back(struct wire_session *w);

/* After TRY_AGAIN: wait a little, longer each time. 0; -ETIMEDOUT when that would be past the deadline (what
 * `e` said stays); -ESHUTDOWN. */
int wire_session_back_off(struct wire_session *w, struct patience *p, struct err *e);
/* An answer came, whatever it says: the host is there. */
void wire_session_heard(struct wire_session *w);

/* A call with one answer. `result` is what the host decided; what is not an answer at all breaks the
 * connection. */
struct single {
	int (*accept)(struct single *s, const uint8_t *payload, size_t size, struct err *e);
	struct wire_session *w;
	struct patience *patience;
	const struct wire_connection *connection; /* of a request for the open image */
	void *to;				  /* accept's */
	size_t n;
	uint32_t handle;
	int result;
};
wire_answer single_answer; /* over a struct single */

/* A request for the open image was called invalid, which it is not. Before anything came over this connection
 * that is because the answer to OPEN had another handle: -EPROTO, for the connection to be made again. Later
 * it is what the host says of what was asked for: 0. */
int handle_is_wrong(const struct wire_connection *c, const char *words, struct err *e);

#endif
