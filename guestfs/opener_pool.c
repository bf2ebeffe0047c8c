/* SPDX-License-Identifier: Apache-2.0
 * Opening chunks is all computation: more of it at once than there are processors would only cost memory. */
#include "guestfs/image_internal.h"

#include <errno.h>
#include <sys/sysinfo.h>

int opener_pool_init(struct opener_pool *p)
{
	int n = get_nprocs();

	*p = (struct opener_pool){0};
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->returned, NULL);
	if (n > OPENERS_MAX)
		n = OPENERS_MAX;
	while (p->n_idle < n) {
		int r = opener_new(&p->idle[p->n_idle]);

		if (r < 0) {
			opener_pool_deinit(p);
			return r;
		}
		p->n_idle++;
	}
	return 0;
}

void opener_pool_deinit(struct opener_pool *p)
{
	while (p->n_idle > 0)
		opener_free(p->idle[--p->n_idle]);
	pthread_cond_destroy(&p->returned);
	pthread_mutex_destroy(&p->lock);
}

struct opener *opener_take(struct opener_pool *p)
{
	struct opener *o;

	pthread_mutex_lock(&p->lock);
	while (p->n_idle == 0)
		pthread_cond_wait(&p->returned, &p->lock);
	o = p->idle[--p->n_idle];
	pthread_mutex_unlock(&p->lock);
	return o;
}

void opener_return(struct opener_pool *p, struct opener *o)
{
	pthread_mutex_lock(&p->lock);
	p->idle[p->n_idle++] = o;
	pthread_cond_signal(&p->returned);
	pthread_mutex_unlock(&p->lock);
}
