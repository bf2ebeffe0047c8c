/* SPDX-License-Identifier: Apache-2.0
 * What the files of the image reader share; nobody else includes this. */
#ifndef COCOON_GUESTFS_IMAGE_INTERNAL_H
#define COCOON_GUESTFS_IMAGE_INTERNAL_H

#include "guestfs/chunk_open.h"
#include "guestfs/image.h"
#include "guestfs/map.h"
#include "guestfs/plain_cache.h"
#include "guestfs/table.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#define OPENERS_MAX 16

/* Scratch memory for opening chunks, handed to one thread at a time: as many as there are processors. */
struct opener_pool {
	pthread_mutex_t lock;
	pthread_cond_t returned;
	struct opener *idle[OPENERS_MAX];
	int n_idle;
};

struct image {
	struct source *source;
	uint8_t raw_descriptor[DESCRIPTOR_SIZE];
	struct descriptor descriptor;
	struct digest descriptor_digest, manifest_digest;
	struct oci_manifest manifest;
	uint64_t blob_sizes[MAX_BLOBS];
	struct table *table;
	struct map *map;
	struct plain_cache *cache;
	size_t cache_bytes;
	size_t load_max_bytes; /* claimed by one thread at a time, or one chunk */
	unsigned int timeout_ms;
	struct opener_pool openers;
	struct ahead *ahead;
	struct startup *startup; /* NULL: there is no list, or nobody asked for it */
	atomic_uint_fast64_t stored_bytes, plain_bytes, chunks, failures; /* counters: no partner */
};

/* At most this many chunks are claimed by one thread at a time. */
#define LOAD_MAX_CHUNKS 64u

static_assert(IMAGE_VIEW_PARTS == LOAD_MAX_CHUNKS, "a view is one claim");

/* ... and this many asked for in one request, which is what a source takes. */
#define REQUEST_MAX_CHUNKS 256u

int opener_pool_init(struct opener_pool *p);
void opener_pool_deinit(struct opener_pool *p);
/* Waits while all are in use, which is as long as it takes to open a chunk. */
struct opener *opener_take(struct opener_pool *p);
void opener_return(struct opener_pool *p, struct opener *o);

/* Fetch and open chunk 0, whose size nobody knows before: *plain has *size bytes, for the caller to wipe and
 * free. */
int image_load_root(struct image *i, const struct secret *key, uint8_t **plain, uint32_t *size,
		    struct err *e);

/* Claim n chunks (at most LOAD_MAX_CHUNKS), fetch and open those that are not there in one request, wait for
 * those that others open. Memory that others hold is waited for until `deadline` (NULL: one time-out); a
 * request has its own. 0: all n are ready, and claimed by the caller. Otherwise none is. */
int image_claim(struct image *i, const struct extent *x, size_t n, const struct deadline *deadline,
		struct chunk **out, struct err *e);
void image_release(struct image *i, struct chunk **chunks, size_t n);

/* Load what is missing of n chunks (at most LOAD_MAX_CHUNKS), without waiting for others and without
 * claiming, when there is memory for it; failures are silent. */
void image_warm(struct image *i, const struct extent *x, size_t n);

/* Load n chunks (at most REQUEST_MAX_CHUNKS) that the caller has claimed and nobody else loads, in one
 * request, and release them. 0, or why the request failed as a whole; the failure of one chunk is silent. */
int image_load(struct image *i, const struct extent *x, struct chunk **chunks, size_t n);

/* The extents from `block` on, as many as one claim may take and the address `end` asks for (in blocks). Map
 * pages are loaded as needed, with `deadline` as above. The caller wipes `out`. */
int image_extents(struct image *i, uint32_t block, uint32_t end, const struct deadline *deadline,
		  struct extent out[static LOAD_MAX_CHUNKS], size_t *n, struct err *e);

/* Append the plaintext of n chunks to `to`. */
int image_read_object(struct image *i, const struct extent *x, size_t n, struct buf *to, struct err *e);

/* Background readers: see image_ahead.c. */
int ahead_start(struct ahead **out, struct image *i, struct err *e);
void ahead_stop(struct ahead *a); /* waits for what is under way; NULL is fine */
/* Note that [offset, offset + n) was read, and read on where that looks sequential. */
void ahead_observe(struct ahead *a, uint64_t offset, uint64_t n);

/* Is a read of these extents nothing to read on from? So it is while the start-up list is loaded, and when
 * all of them are on it: what was guessed from such a read would tell the host about it. NULL is fine. */
bool startup_hides(const struct startup *s, const struct extent *x, size_t n);
void startup_stop(struct startup *s); /* waits for the request under way; NULL is fine */

#endif
