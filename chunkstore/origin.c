/* SPDX-License-Identifier: Apache-2.0
 * Counted names of repositories. */
#include "chunkstore/origin.h"
#include "crypto/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int origin_new(struct origin **out, const struct reference *where)
{
	struct origin *o = calloc(1, sizeof(*o));
	char name[sizeof(where->registry) + sizeof(where->repository) + 1];
	int r;

	if (!o)
		return -ENOMEM;
	memcpy(o->where.registry, where->registry, sizeof(where->registry));
	memcpy(o->where.repository, where->repository, sizeof(where->repository));
	(void)snprintf(name, sizeof(name), "%s/%s", where->registry, where->repository);
	r = sha256(&o->name, name, strlen(name));
	if (r < 0) {
		free(o);
		return r;
	}
	atomic_init(&o->refs, 1);
	*out = o;
	return 0;
}

struct origin *origin_ref(struct origin *o)
{
	(void)atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
	return o;
}

void origin_unref(struct origin *o)
{
	if (o && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1)
		free(o);
}
