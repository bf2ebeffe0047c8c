/* SPDX-License-Identifier: Apache-2.0
 * What links.c, sockets.c and meddler.c share: a connection is two lanes, and a lane is a list of frames with
 * the times at which they arrive. */
#ifndef COCOON_TEST_SIM_NETWORK_H
#define COCOON_TEST_SIM_NETWORK_H

#include "sim.h"

#include <sys/types.h>

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
	int fds[2];		   /* of both ends; 0: closed, or not accepted yet */
	int64_t made_at;	   /* when it is connected */
	struct parcel *last_chunk; /* the last answer with a chunk, for SWAP and REPLAY */
};

bool network_is_dark(void); /* new connections are silent too */
struct link *link_new(int guest_fd, int64_t made_at);
void link_free(struct link *l);
/* Frames are cut out of what is written, and meddled with one by one. */
void link_write(struct link *l, int end, const uint8_t *p, size_t n);
/* One end will not read or write any more. */
void link_leave(struct link *l, int end);
/* How many bytes can be read now; 0 and when there may be more (negative: nobody knows), or −1 at the end of
 * the stream. */
ssize_t lane_look(struct lane *a, int64_t *next);
void lane_take(struct lane *a, void *to, size_t n); /* not more than that */

/* meddler.c: a whole frame was written by the end `from`. */
void meddle(struct link *l, int from, const uint8_t *frame, size_t n);
/* Put bytes on the lane. */
struct parcel *parcel_send(struct link *l, int lane, const void *p, size_t n, int64_t at);
int64_t lane_next_time(struct lane *a);	 /* when the next frame arrives that keeps its order */
int64_t lane_final_time(struct lane *a); /* ... behind all that is under way */
void link_wake(struct link *l);
/* The stream ends behind what is on it (error 0), or now and with the loss of that. */
void lane_end(struct link *l, int lane, int64_t at, int error);

#endif
