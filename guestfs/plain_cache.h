/* SPDX-License-Identifier: Apache-2.0
 * Plaintext chunks in private memory: those in use, those that are being opened (once, however many ask), and
 * those used last up to a cap in bytes. What goes is wiped. Any thread. */
#ifndef COCOON_GUESTFS_PLAIN_CACHE_H
#define COCOON_GUESTFS_PLAIN_CACHE_H

#include "proto/format/root.h"

#include <stddef.h>
#include <stdint.h>

struct plain_cache;

/* A chunk that the caller has claimed and must release. */
struct chunk {
	uint8_t *plain; /* written by the one who loads it, read by others when it is ready */
	uint32_t size;
	uint32_t number;
};

enum {
	CHUNK_READY = 0,
	CHUNK_LOAD = 1, /* the caller fills `plain` and calls plain_cache_done() */
	CHUNK_WAIT = 2, /* another thread does that: plain_cache_wait() */
};

/* `max_bytes` is what chunks take together, those that are claimed and those that are kept; only where more
 * than that is claimed at once, it is more. 0 or -ENOMEM. */
int plain_cache_new(struct plain_cache **out, size_t max_bytes);
void plain_cache_free(struct plain_cache *c); /* wipes; nothing may be claimed. NULL is fine */

/* Bytes of chunks that are about to be loaded, since when. */
struct reservation {
	size_t bytes;
	uint64_t second;
};

/* Wait until there is room for those of n chunks that would have to be loaded: half of `max_bytes` at once,
 * or one caller's; what was reserved more than a second or two ago is not waited for, and nobody
 * waits for longer. No wait, and 0 bytes, when all are known. The caller holds no claim meanwhile. What was
 * reserved goes to chunks that the caller loads, by plain_cache_charge(), until they are released, and what
 * is left of it back. */
struct reservation plain_cache_reserve(struct plain_cache *c, const struct extent *x, size_t n);
void plain_cache_charge(struct plain_cache *c, struct chunk *chunk, struct reservation *r);
void plain_cache_unreserve(struct plain_cache *c, const struct reservation *r);

/* Claim the chunk that `x` names. One of the answers above; -ENOMEM; -EUCLEAN when the chunk is known under
 * another key or size: no chunk has two. */
int plain_cache_claim(struct plain_cache *c, const struct extent *x, struct chunk **out);

/* The chunk's bytes are there (0), or will not be (negative errno: every waiter gets it, the next claim loads
 * again). */
void plain_cache_done(struct plain_cache *c, struct chunk *chunk, int result);

/* Wait for that. The loader has a deadline, so this ends by it too. */
int plain_cache_wait(struct plain_cache *c, struct chunk *chunk);

void plain_cache_release(struct plain_cache *c, struct chunk *chunk);

#endif
