/* SPDX-License-Identifier: Apache-2.0
 * Chunks sealed on several threads, delivered in the order in which they came. One thread produces; it also
 * runs the results, from inside seal_pool_submit() and seal_pool_drain(). Memory is bounded by the number of
 * chunks under way. */
#ifndef COCOON_PUBLISHER_SEAL_POOL_H
#define COCOON_PUBLISHER_SEAL_POOL_H

#include "proto/base/err.h"
#include "publisher/chunk_seal.h"

#include <stddef.h>
#include <stdint.h>

#define SEAL_POOL_CHUNK (512u << 10) /* plaintext of one chunk at most */

struct seal_pool;

/* One chunk is sealed; `stored` is borrowed for the call. 0 or a negative errno, which ends the stream. */
typedef int seal_result(void *arg, const struct sealed_chunk *chunk, const uint8_t *stored, struct err *e);

int seal_pool_new(struct seal_pool **out, unsigned n_threads, const struct seal_options *o, struct err *e);
void seal_pool_free(struct seal_pool *p); /* drops what is under way; wipes; NULL is fine */

const struct seal_options *seal_pool_options(const struct seal_pool *p);

/* Keys come from `prk` and results go to `result` from here on; nothing may be under way. */
void seal_pool_begin(struct seal_pool *p, const struct secret *prk, seal_result *result, void *arg);

/* The buffer to fill with the next chunk: SEAL_POOL_CHUNK bytes, the same until the next submit. */
uint8_t *seal_pool_buffer(struct seal_pool *p);

/* Seal the first n bytes of the buffer. Waits while too many are under way. 0 or the first failure. */
int seal_pool_submit(struct seal_pool *p, size_t n, struct err *e);

/* Wait until everything was delivered. 0 or the first failure; the pool is empty afterwards in any case. */
int seal_pool_drain(struct seal_pool *p, struct err *e);

#endif
