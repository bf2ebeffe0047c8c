/* SPDX-License-Identifier: Apache-2.0
 * Where chunks end (FORMAT.md §9): a keyed gear hash of the last bytes of each block says after which blocks
 * a cut may come, so that cuts follow content and a store cannot tell a known file by its chunk lengths. Pure
 * state, no I/O. */
#ifndef COCOON_PUBLISHER_CUTTER_H
#define COCOON_PUBLISHER_CUTTER_H

#include "crypto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Chosen by bench/sweep.sh (bench/results/sweep.md): smaller chunks cost a cold start more in round trips
 * than they save in bytes. */
#define CUT_MIN (64u << 10)
#define CUT_MAX (512u << 10)
#define CUT_LARGE_FILE (128u << 10) /* a file of this size or more has chunks of its own */

struct cutter {
	uint64_t gear[256]; /* keyed; wiped by cutter_deinit() */
};

/* 0 or -ENOMEM. */
int cutter_init(struct cutter *c, const struct secret *prk_domain);
void cutter_deinit(struct cutter *c);

/* True when a chunk that is `chunk_size` bytes long may end behind `tail`, the last bytes (64, or all if
 * fewer) of a block of a large file, or of a small file. */
bool cut_after_block(const struct cutter *c, const uint8_t *tail, size_t n, size_t chunk_size);
bool cut_after_small_file(const struct cutter *c, const uint8_t *tail, size_t n, size_t chunk_size);

#endif
