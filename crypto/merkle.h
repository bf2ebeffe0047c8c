/* SPDX-License-Identifier: Apache-2.0
 * The dm-verity version 1 hash tree over the chunk table (FORMAT.md §5): shape, building, checking. Pure
 * functions over memory; who fetches what, and what is remembered as checked, is the reader's business. */
#ifndef COCOON_CRYPTO_MERKLE_H
#define COCOON_CRYPTO_MERKLE_H

#include "proto/base/digest.h"

#include <stddef.h>
#include <stdint.h>

#define MERKLE_BLOCK 4096u
#define MERKLE_FANOUT 128u
#define MERKLE_MAX_LEVELS 8 /* 128^8 blocks is past 2^32 */
#define MERKLE_SALT_SIZE 32
#define VERITY_SUPERBLOCK_SIZE 512

struct merkle_shape {
	uint64_t n_data;		   /* data blocks */
	int n_levels;			   /* hash levels; 0 for one data block */
	uint64_t first[MERKLE_MAX_LEVELS]; /* level 0 is nearest the data: its first hash block, counted from
					      the start of the hash area (root level first on disk) */
	uint64_t n_blocks[MERKLE_MAX_LEVELS]; /* hash blocks of that level */
	uint64_t n_hash;		      /* hash blocks in all */
};

/* 0; -EINVAL when n_data is 0 or over 2^32. */
int merkle_shape_init(struct merkle_shape *out, uint64_t n_data);

/* Build the tree over shape->n_data blocks at `data` into `hash` (shape->n_hash blocks), give its root. 0 or
 * -ENOMEM. */
int merkle_build(const struct merkle_shape *shape, const uint8_t *data, uint8_t *hash,
		 const uint8_t salt[static MERKLE_SALT_SIZE], struct digest *root);

/* digest = SHA-256(salt ‖ block). 0 or -ENOMEM. */
int merkle_digest(struct digest *out, const uint8_t *block, const uint8_t salt[static MERKLE_SALT_SIZE]);

/* 0 when `block` has digest `want`; -EBADMSG when it has another; -ENOMEM when nobody can tell. */
int merkle_check(const uint8_t *block, const struct digest *want,
		 const uint8_t salt[static MERKLE_SALT_SIZE]);

/* Where the digest of block `index` of level `level` stands (level −1 is the data): the hash block (counted
 * from the start of the hash area) in *block and the byte in it in *at. Only when a level above exists. */
void merkle_parent(const struct merkle_shape *shape, int level, uint64_t index, uint64_t *block, size_t *at);

/* The superblock that cryptsetup's veritysetup reads (512 bytes). 0 or -ENOMEM. */
int verity_superblock_encode(uint8_t raw[static VERITY_SUPERBLOCK_SIZE], uint64_t n_data,
			     const uint8_t salt[static MERKLE_SALT_SIZE]);

#endif
