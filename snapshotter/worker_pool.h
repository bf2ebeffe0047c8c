/* SPDX-License-Identifier: Apache-2.0
 * Threads that take jobs from one bounded queue, first come first served. Any thread may submit. */
#ifndef COCOON_SNAPSHOTTER_WORKER_POOL_H
#define COCOON_SNAPSHOTTER_WORKER_POOL_H

#include "proto/base/err.h"

struct worker_pool;

/* Embedded in what is to be done; `run` may free it. */
struct job {
	struct job *next; /* the pool's own */
	void (*run)(struct job *j);
};

int worker_pool_open(struct worker_pool **out, unsigned n_threads, unsigned max_waiting, struct err *e);
/* 0, or -EBUSY when max_waiting jobs wait already. */
int worker_pool_submit(struct worker_pool *p, struct job *j);
/* Runs what was submitted to its end; nothing may be submitted any more. NULL is fine. */
void worker_pool_close(struct worker_pool *p);

#endif
