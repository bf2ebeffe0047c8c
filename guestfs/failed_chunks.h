/* SPDX-License-Identifier: Apache-2.0
 * The chunks, or blocks of the index, that a source could not get lately. Files are read in small pieces:
 * whoever reads a file with one bad chunk must not wait as long for each of its pages. Such a chunk fails at
 * once for as long again as its failure took, a second at most; after that it is asked for once, until it
 * comes or a minute has passed. A few are remembered; forgetting one costs time only. Any thread. Times are
 * milliseconds of the monotonic clock. */
#ifndef COCOON_GUESTFS_FAILED_CHUNKS_H
#define COCOON_GUESTFS_FAILED_CHUNKS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAILED_CHUNKS 64u
#define FAILED_CHUNK_AT_ONCE_MS 1000u
#define FAILED_CHUNK_KNOWN_MS 60000u

struct failed_chunk {
	uint32_t number;
	int error;	   /* 0: none is here */
	uint64_t at_ms;	   /* when it failed */
	uint64_t until_ms; /* it fails at once */
};

struct failed_chunks {
	atomic_uint n;	      /* that are here; 0 spares the lock: no partner */
	pthread_mutex_t lock; /* guards what follows */
	struct failed_chunk slots[FAILED_CHUNKS];
};

/* The caller's storage, zeroed. */
void failed_chunks_init(struct failed_chunks *f);
void failed_chunks_deinit(struct failed_chunks *f);

/* Named answers: not known to fail; ask once. Otherwise the negative errno of a moment ago. */
enum { CHUNK_UNKNOWN = 0, CHUNK_ASK_ONCE = 1 };
int failed_chunks_look(struct failed_chunks *f, uint32_t number, uint64_t now_ms);
/* It failed now, and was begun then. */
void failed_chunks_add(struct failed_chunks *f, uint32_t number, int error, uint64_t began_ms,
		       uint64_t now_ms);
/* It came. Returns whether it was here. */
bool failed_chunks_drop(struct failed_chunks *f, uint32_t number);

#endif
