/* SPDX-License-Identifier: Apache-2.0
 * A list under a lock, and a condition that says it is not empty. */
#include "snapshotter/worker_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct worker_pool {
	pthread_mutex_t lock; /* guards everything below but threads */
	pthread_cond_t wake;
	struct job *first, **last;
	unsigned waiting, max_waiting;
	bool closing;
	unsigned n_threads;
	pthread_t threads[];
};

static void *work(void *arg)
{
	struct worker_pool *p = arg;

	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		struct job *j = p->first;

		if (!j && p->closing)
			break;
		if (!j) {
			(void)pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		p->first = j->next;
		if (!p->first)
			p->last = &p->first;
		p->waiting--;
		(void)pthread_mutex_unlock(&p->lock);
		j->run(j);
		(void)pthread_mutex_lock(&p->lock);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

int worker_pool_open(struct worker_pool **out, unsigned n_threads, unsigned max_waiting, struct err *e)
{
	struct worker_pool *p = calloc(1, sizeof(*p) + n_threads * sizeof(p->threads[0]));

	if (!p)
		return -ENOMEM;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->wake, NULL);
	p->last = &p->first;
	p->max_waiting = max_waiting;
	for (; p->n_threads < n_threads; p->n_threads++) {
		int r = pthread_create(&p->threads[p->n_threads], NULL, work, p);

		if (r != 0) {
			worker_pool_close(p);
			return err_errno(e, -r, "starting a worker");
		}
	}
	*out = p;
	return 0;
}

int worker_pool_submit(struct worker_pool *p, struct job *j)
{
	int r = -EBUSY;

	(void)pthread_mutex_lock(&p->lock);
	if (p->waiting < p->max_waiting) {
		j->next = NULL;
		*p->last = j;
		p->last = &j->next;
		p->waiting++;
		(void)pthread_cond_signal(&p->wake);
		r = 0;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return r;
}

void worker_pool_close(struct worker_pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->closing = true;
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->wake);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}
