/* SPDX-License-Identifier: Apache-2.0
 * A host on a socket that answers from a store, one guest and one request at a time, and shows every answer
 * to a liar before it is sent. */
#ifndef COCOON_TEST_HOST_H
#define COCOON_TEST_HOST_H

#include "proto/base/bytes.h"
#include "proto/wire/wire.h"
#include "store.h"

#include <pthread.h>
#include <stdatomic.h>

#define HOST_HANDLE 7u
#define HOST_FRAMES (2 * WIRE_MAX_CHUNKS)

/* The frames that answer one request, header and payload of each, in the order in which they are sent. */
struct answer {
	enum wire_type type;
	uint64_t id;
	size_t n;
	struct buf frames[HOST_FRAMES];
	bool hang_up; /* behind them */
};

/* Called from the host's thread. */
typedef void host_liar(void *arg, struct answer *a);

struct host {
	const struct store *store; /* borrowed; not changed while a request runs */
	host_liar *liar;	   /* NULL: be honest; set while no guest is connected or none asks */
	void *arg;
	atomic_uint connections;
	/* private */
	int listener;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool serving;
	struct answer answer;
	uint8_t stored[MAX_STORED_SIZE];
};

/* Listen on unix socket `path`. Aborts on failure. */
void host_start(struct host *h, const struct store *store, const char *path);
void host_stop(struct host *h);
/* Wait until no guest is connected. */
void host_wait_quiet(struct host *h);

/* One more frame, at the end; NULL when there is no room. */
struct buf *answer_add(struct answer *a, enum wire_status status, const void *payload, size_t n);

#endif
