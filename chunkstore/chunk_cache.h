/* SPDX-License-Identifier: Apache-2.0
 * Stored chunks on disk, named by their digest: DIR/<2 hex>/<64 hex>, shared by all images. A chunk is
 * written beside and renamed, so a crash at any moment leaves whole files or none under a name; files are not
 * synced, because each one found at start is hashed once before it is first given out. The cache stays under
 * its size by dropping what was used least recently; readers that hold a descriptor are not disturbed. One
 * process at a time (lock file). Any thread. */
#ifndef COCOON_CHUNKSTORE_CHUNK_CACHE_H
#define COCOON_CHUNKSTORE_CHUNK_CACHE_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk_cache;

enum chunk_cache_answer { CHUNK_MISS = 1 };

/* Open or create the cache in `dir`; reads the names of all chunks there. max_bytes counts contents; 0: no
 * limit. -EBUSY when another process has it. */
int chunk_cache_open(struct chunk_cache **out, const char *dir, uint64_t max_bytes, struct err *e);
void chunk_cache_close(struct chunk_cache *c); /* NULL is fine */

/* Whether the chunk was there a moment ago. Touches no disk. */
bool chunk_cache_has(struct chunk_cache *c, const struct digest *id);

/* A descriptor (the caller's, for reading) of the stored bytes, `size` of them. 0; CHUNK_MISS, also when the
 * file is damaged: it is gone by then; -errno. */
int chunk_cache_get(struct chunk_cache *c, const struct digest *id, uint32_t size, int *fd);

/* Keep a chunk after checking its digest. 0, also when it was there; -EBADMSG when `p` is not that chunk;
 * -ENOSPC and other errors of writing. */
int chunk_cache_put(struct chunk_cache *c, const struct digest *id, const void *p, size_t size);

struct chunk_cache_stats {
	uint64_t chunks, bytes, max_bytes;		 /* now */
	uint64_t hits, misses, puts, evictions, damaged; /* since open */
};
void chunk_cache_stats(struct chunk_cache *c, struct chunk_cache_stats *out);

#endif
