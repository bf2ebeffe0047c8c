/* SPDX-License-Identifier: Apache-2.0
 * Brings chunks from a registry into the cache. Whoever asks for a chunk that is already on its way waits for
 * that one fetch; neighbours in a blob travel in one ranged GET; a few threads fetch at a time. A chunk is
 * hashed against its table entry before it enters the cache, and told as soon as it is there, not when its
 * range ends. Any thread. */
#ifndef COCOON_CHUNKSTORE_FETCHER_H
#define COCOON_CHUNKSTORE_FETCHER_H

#include "chunkstore/chunk_cache.h"
#include "chunkstore/origin.h"
#include "chunkstore/registry.h"
#include "proto/base/err.h"
#include "proto/format/chunk_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetcher;

struct fetcher_options {
	unsigned threads;	       /* 0: 16 */
	unsigned threads_per_registry; /* 0: 8 */
	unsigned deadline_ms; /* a chunk that could not be begun within it fails with -EAGAIN; 0: 60,000 */
};

/* One chunk to fetch. The caller keeps it in place until `done` was called or fetcher_cancel() returned.
 * `done` is called at most once, from any thread and also from within fetcher_fetch(), under the fetcher's
 * lock: it must not block, nor call the fetcher. `error` is 0 when the chunk is in the cache now, else a
 * negative errno of registry.h or chunk_cache.h, with words for a log (borrowed, never NULL). */
struct fetch {
	struct digest blob;
	struct chunk_entry entry;
	bool ahead; /* nobody waits for it yet: after all others */
	void (*done)(struct fetch *f, int error, const char *words);
	/* the fetcher's own */
	struct flight *flight;
	struct fetch *next;
};

/* All borrowed, and live longer. */
int fetcher_open(struct fetcher **out, const struct fetcher_options *options,
		 struct registry_client *registry, struct chunk_cache *cache, struct err *e);
/* Nobody waits any more; the registry client was stopped. NULL is fine. */
void fetcher_close(struct fetcher *f);

/* Start to fetch n chunks of one image from `origin`. Returns at once. */
void fetcher_fetch(struct fetcher *f, struct origin *origin, struct fetch *const *fetches, size_t n);

/* When it returns, `done` was called or never will be. What is under way goes on, for the cache. */
void fetcher_cancel(struct fetcher *f, struct fetch *fetch);

struct fetcher_stats {
	uint64_t requests, bytes; /* ranged GETs, and what they brought, gaps included */
	uint64_t chunks, shared, failures;
	uint64_t waiting; /* now */
};
void fetcher_stats(struct fetcher *f, struct fetcher_stats *out);

#endif
