/* SPDX-License-Identifier: Apache-2.0
 * Plaintext chunks in private memory: those in use, those that are being opened (once, however many ask), and
 * those used last up to a cap in bytes. What is claimed beyond the cap is for those who have claimed it by
 * then, and not found by others. What goes is wiped. Any thread. */
#ifndef COCOON_GUESTFS_PLAIN_CACHE_H
#define COCOON_GUESTFS_PLAIN_CACHE_H

#include "guestfs/deadline.h"
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
 * than that is claimed at once, it is more. `max_loading` of plain_cache_reserve(). 0 or -ENOMEM. */
int plain_cache_new(struct plain_cache **out, size_t max_bytes, size_t max_loading);
void plain_cache_free(struct plain_cache *c); /* wipes; nothing may be claimed. NULL is fine */

/* Room for those of n chunks that would have to be loaded: all that is on its way together takes at most
 * `max_loading`, or one caller's share when that alone is more. Those who find none wait in line, until
 * `deadline` (NULL: not at all): a host that lets reads hang holds up others, but never makes the process
 * larger. No wait, and 0 bytes, when all are known. The caller holds no claim meanwhile. What was reserved
 * goes to chunks that the caller loads, by plain_cache_charge(), until they are released, and what is left of
 * it back. 0; -ETIMEDOUT when there is no room, and nothing is reserved. */
int plain_cache_reserve(struct plain_cache *c, const struct extent *x, size_t n,
			const struct deadline *deadline, size_t *reserved);
void plain_cache_charge(struct plain_cache *c, struct chunk *chunk, size_t *reserved);
void plain_cache_unreserve(struct plain_cache *c, size_t reserved);

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
