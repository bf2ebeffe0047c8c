/* SPDX-License-Identifier: Apache-2.0
 * gzip (RFC 1952) and zstd (RFC 8878) as streams: one member or frame after another, checksums checked,
 * nothing behind the last one. Memory is bounded by the formats' windows (zstd: 128 MiB). One thread. */
#ifndef COCOON_PUBLISHER_DECOMPRESS_H
#define COCOON_PUBLISHER_DECOMPRESS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

struct decompressor;

int decompressor_new(struct decompressor **out, enum compression kind);
void decompressor_free(struct decompressor *d); /* NULL is fine */

/* Use up to *n bytes at *in, which move on, and put up to `room` bytes into `out`. *made may be 0 when input
 * is wanted. -EUCLEAN when the stream is damaged or is not of this kind. */
int decompressor_step(struct decompressor *d, const uint8_t **in, size_t *n, uint8_t *out, size_t room,
		      size_t *made, struct err *e);

/* May the stream end here? */
bool decompressor_at_end(const struct decompressor *d);

#endif
