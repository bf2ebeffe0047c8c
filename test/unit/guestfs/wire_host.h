/* SPDX-License-Identifier: Apache-2.0
 * A host that serves one sealed image in memory over WIRE.md, honestly or not, for tests of the guest's side.
 */
#ifndef COCOON_TEST_WIRE_HOST_H
#define COCOON_TEST_WIRE_HOST_H

#include "proto/base/bytes.h"
#include "proto/wire/wire.h"
#include "seal_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* What to do with an answer frame before it is sent (header and payload are encoded): change it, or return
 * how many of its bytes to send before the connection is closed; its size for all; WIRE_HOST_SWALLOW to send
 * nothing and go on. `serial` counts answers. */
#define WIRE_HOST_SWALLOW SIZE_MAX
typedef size_t wire_tamper(void *arg, enum wire_type type, unsigned int serial, struct buf *frame);

struct wire_host {
	const struct sealed *image;
	const struct sealed *_Atomic other; /* what is opened instead, when set */
	atomic_uint busy;		    /* so many chunk answers are BUSY first */
	atomic_uint connections, opens, chunk_requests;
	char opened[WIRE_MAX_REFERENCE + 1]; /* the last reference */
	/* private */
	int listener;
	atomic_bool stop;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	wire_tamper *tamper;
	void *arg;
	unsigned int serial;
	int fds[64];
	unsigned int n_threads; /* that serve */
};

/* Listen on unix socket `path`. Aborts on failure. */
void wire_host_start(struct wire_host *h, const struct sealed *image, const char *path);
void wire_host_break(struct wire_host *h); /* close every connection, go on listening */
void wire_host_quiet(struct wire_host *h); /* the same, and wait until they are gone */
/* Serials count from 0 again. NULL: be honest. Returns how many answers were sent since the last call. */
unsigned int wire_host_tamper(struct wire_host *h, wire_tamper *tamper, void *arg);
void wire_host_stop(struct wire_host *h);

#endif
