/* SPDX-License-Identifier: Apache-2.0
 * A FUSE session that runs in threads of its own and says when it has ended. */
#ifndef COCOON_GUESTFS_FUSE_LOOP_H
#define COCOON_GUESTFS_FUSE_LOOP_H

#define FUSE_USE_VERSION 312

#include "proto/base/err.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

#define FUSE_LOOP_MAX_READ 1048576u /* the kernel's limit of 256 pages */
#define FUSE_LOOP_MAX_READ_TEXT "1048576"

struct fuse_loop {
	pthread_mutex_t lock;	      /* guards `session` against the loop's own end */
	struct fuse_session *session; /* owned; NULL when it has ended */
	pthread_t thread;
	struct fuse_loop_config *config; /* owned by the thread */
	int ended_fd;			 /* readable when the session has ended */
};

/* Run `session`, which has its descriptor. Owned from then on, also on failure. When it has ended, for
 * whatever reason, the kernel waits for no answer any more. */
int fuse_loop_start(struct fuse_loop *l, struct fuse_session *session, struct err *e);

/* Wait for the session's end; with `end` make it end. Unmounts nothing; frees. */
void fuse_loop_stop(struct fuse_loop *l, bool end);

/* What both fronts want of the connection; for their init(). */
void fuse_loop_init(struct fuse_conn_info *conn);

#endif
