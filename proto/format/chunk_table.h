/* SPDX-License-Identifier: Apache-2.0
 * One entry of the public chunk table (FORMAT.md §4). The table's blocks are authenticated by the hash tree
 * (crypto/merkle.h); this file only gives bytes their meaning. */
#ifndef COCOON_FORMAT_CHUNK_TABLE_H
#define COCOON_FORMAT_CHUNK_TABLE_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/format/descriptor.h"

#include <stdint.h>

#define CHUNK_ENTRY_SIZE 64u

struct chunk_entry {
	struct digest id;     /* SHA-256 of the stored bytes */
	uint64_t offset;      /* in the blob */
	uint32_t stored_size; /* tag included */
	uint32_t blob;	      /* index into the manifest's layers */
};

/* Decode entry `number` of an image with descriptor `d` whose blobs have `blob_sizes[d->n_blobs]` bytes.
 * 0 or -EUCLEAN ([T1]…[T4]). */
int chunk_entry_decode(struct chunk_entry *out, uint32_t number, const uint8_t raw[static CHUNK_ENTRY_SIZE],
		       const struct descriptor *d, const uint64_t *blob_sizes, struct err *e);

void chunk_entry_encode(const struct chunk_entry *c, uint8_t raw[static CHUNK_ENTRY_SIZE]);

#endif
