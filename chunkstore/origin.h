/* SPDX-License-Identifier: Apache-2.0
 * Where the blobs of an opened image are fetched from: one repository of one registry. Each one who opens an
 * image names an origin; who shares an origin shares its fetches, and a bad origin named by one guest never
 * delays or fails another. Immutable, counted. */
#ifndef COCOON_CHUNKSTORE_ORIGIN_H
#define COCOON_CHUNKSTORE_ORIGIN_H

#include "proto/base/digest.h"
#include "proto/oci/reference.h"

#include <stdatomic.h>

struct origin {
	struct reference where; /* registry and repository only */
	struct digest name;	/* SHA-256 of "registry/repository": equal origins have equal names */
	atomic_uint refs;
};

/* 0 or -ENOMEM; one reference for the caller. */
int origin_new(struct origin **out, const struct reference *where);
struct origin *origin_ref(struct origin *o);
void origin_unref(struct origin *o); /* NULL is fine */

#endif
