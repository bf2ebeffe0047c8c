/* SPDX-License-Identifier: Apache-2.0
 * A FUSE session that is answered by threads of its own and says when it has ended. */
#ifndef COCOON_GUESTFS_FUSE_LOOP_H
#define COCOON_GUESTFS_FUSE_LOOP_H

#define FUSE_USE_VERSION 312

#include "proto/base/err.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

#define FUSE_LOOP_MAX_READ 1048576u /* the kernel's limit of 256 pages */
#define FUSE_LOOP_MAX_READ_TEXT "1048576"

/* Every request that waits for the host keeps a thread, and one that could be answered from memory must find
 * another. The kernel's own read-ahead cannot take them all. */
#define FUSE_LOOP_THREADS 256

struct fuse_loop;

struct fuse_worker {
	struct fuse_loop *loop;
	enum { WORKER_NONE, WORKER_RUNS, WORKER_ENDED } state; /* ended: to be joined */
	pthread_t thread;
	struct fuse_buf request; /* the thread's own */
};

struct fuse_loop {
	pthread_mutex_t lock; /* guards the rest; not held while a request is waited for or answered */
	pthread_cond_t ended; /* `session` is NULL */
	struct fuse_session *session; /* owned */
	struct fuse_worker workers[FUSE_LOOP_THREADS];
	unsigned int n_running, n_waiting; /* of them; for a request */
	bool greeted;			   /* the kernel's first request was understood */
	int ended_fd;			   /* readable when the session has ended */
};

/* Run `session`, which has its descriptor, and on it the first request of its mount. Owned from then on, also
 * on failure. When it has ended, for whatever reason, the kernel waits for no answer any more. */
int fuse_loop_start(struct fuse_loop *l, struct fuse_session *session, struct err *e);

/* Wait for the session's end; with `end` make it end. Unmounts nothing; frees. */
void fuse_loop_stop(struct fuse_loop *l, bool end);

/* What both fronts want of the connection; for their init(). */
void fuse_loop_init(struct fuse_loop *l, struct fuse_conn_info *conn);

#endif
