/* SPDX-License-Identifier: Apache-2.0
 * The descriptor: the last 256 bytes of the index blob; its SHA-256 is the image's identity (FORMAT.md §3).
 */
#ifndef COCOON_FORMAT_DESCRIPTOR_H
#define COCOON_FORMAT_DESCRIPTOR_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/format/format.h"

#include <stddef.h>
#include <stdint.h>

#define DESCRIPTOR_SIZE 256
#define DESCRIPTOR_ROOT_HASH_OFFSET 80 /* 32 bytes, zeroed for the root chunk's key */

struct descriptor {
	uint64_t image_size;
	uint32_t n_chunks;
	uint32_t n_blobs;
	uint32_t max_chunk_size;
	uint32_t n_meta_chunks;
	uint64_t meta_offset;
	uint8_t salt[32];
	struct digest root_hash;
	uint8_t key_commitment[32];
	struct digest blobs_digest;
};

/* 0; -ENOTSUP for another version or suite; -EUCLEAN for anything that breaks [D1]…[D11]. meta_offset is
 * checked against the table's and the tree's size. */
int descriptor_decode(struct descriptor *out, const uint8_t raw[static DESCRIPTOR_SIZE], struct err *e);

void descriptor_encode(const struct descriptor *d, uint8_t raw[static DESCRIPTOR_SIZE]);

/* Bytes of the chunk table: a multiple of BLOCK_SIZE. */
uint64_t chunk_table_size(uint32_t n_chunks);

/* Number of hash blocks over `n_blocks` table blocks (dm-verity v1, 128 digests a block; 0 when n_blocks is
 * 1). */
uint64_t hash_tree_blocks(uint64_t n_blocks);

/* Where the metadata chunks begin: table, superblock block, hash blocks. */
uint64_t meta_offset_of(uint32_t n_chunks);

#endif
