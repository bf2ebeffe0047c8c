/* SPDX-License-Identifier: Apache-2.0
 * What network.c and meddler.c share: a connection is two lanes, and a lane is a list of frames with the
 * times at which they arrive. */
#ifndef COCOON_TEST_SIM_NETWORK_H
#define COCOON_TEST_SIM_NETWORK_H

#include "sim.h"

enum { TO_HOST, TO_GUEST }; /* lanes; also the end that writes to each: 0 is the guest's */

/* Bytes on their way, in most cases a frame. */
struct parcel {
	struct parcel *next;
	int64_t at, rest_at; /* the first `split` bytes arrive, the rest arrives */
	size_t n, split, taken;
	uint8_t data[];
};

struct lane {
	struct parcel *waiting; /* by time of arrival */
	struct parcel *current; /* being read */
	size_t pending;		/* bytes of both */
	int64_t last_at;	/* of what keeps its order */
	uint8_t *partial;	/* a frame that is being written */
	size_t n_partial, room;
	bool closed;	/* nothing more is written */
	int64_t end_at; /* when the reader sees that; only when closed */
	int error;	/* ... as this; 0: the end of the stream */
	bool deaf;	/* the reader has gone: writing fails */
	bool silent;	/* what is written is lost */
};

struct link {
	struct link *next;
	int number;
	struct lane lanes[2];
	struct stream_socket *ends[2]; /* NULL: closed, or not accepted yet */
	int64_t made_at;
	struct parcel *last_chunk; /* the last answer with a chunk, for SWAP and REPLAY */
};

/* A whole frame was written by the end `from`. */
void meddle(struct link *l, int from, const uint8_t *frame, size_t n);
/* Put bytes on the lane. */
struct parcel *parcel_send(struct link *l, int lane, const void *p, size_t n, int64_t at);
int64_t lane_next_time(struct lane *a); /* when the next frame arrives that keeps its order */
void link_wake(struct link *l);
/* The stream ends behind what is on it (error 0), or now and with the loss of that. */
void lane_end(struct link *l, int lane, int64_t at, int error);

#endif
