/* SPDX-License-Identifier: Apache-2.0
 * Geometry, building and checking of the dm-verity hash tree. */
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"

#include <errno.h>
#include <string.h>

int merkle_shape_init(struct merkle_shape *out, uint64_t n_data)
{
	struct merkle_shape s = {.n_data = n_data};
	uint64_t n = n_data;

	if (n_data == 0 || n_data > 1ull << 32)
		return -EINVAL;
	while (n > 1) {
		n = (n + MERKLE_FANOUT - 1) / MERKLE_FANOUT;
		s.n_blocks[s.n_levels++] = n;
		s.n_hash += n;
	}
	/* on disk the root level comes first */
	for (int level = s.n_levels - 2; level >= 0; level--)
		s.first[level] = s.first[level + 1] + s.n_blocks[level + 1];
	*out = s;
	return 0;
}

void merkle_parent(const struct merkle_shape *shape, int level, uint64_t index, uint64_t *block, size_t *at)
{
	*block = shape->first[level + 1] + index / MERKLE_FANOUT;
	*at = (size_t)(index % MERKLE_FANOUT) * DIGEST_SIZE;
}

int merkle_digest(struct digest *out, const uint8_t *block, const uint8_t salt[static MERKLE_SALT_SIZE])
{
	return sha256_pair(out, salt, MERKLE_SALT_SIZE, block, MERKLE_BLOCK);
}

int merkle_check(const uint8_t *block, const struct digest *want, const uint8_t salt[static MERKLE_SALT_SIZE])
{
	struct digest got;
	int r = merkle_digest(&got, block, salt);

	if (r < 0)
		return r;
	return digest_equal(&got, want) ? 0 : -EBADMSG;
}

int merkle_build(const struct merkle_shape *shape, const uint8_t *data, uint8_t *hash,
		 const uint8_t salt[static MERKLE_SALT_SIZE], struct digest *root)
{
	const uint8_t *below = data;
	uint64_t n_below = shape->n_data;

	memset(hash, 0, (size_t)shape->n_hash * MERKLE_BLOCK);
	for (int level = 0; level < shape->n_levels; level++) {
		for (uint64_t i = 0; i < n_below; i++) {
			struct digest d;
			uint64_t block;
			size_t at;
			int r = merkle_digest(&d, below + i * MERKLE_BLOCK, salt);

			if (r < 0)
				return r;
			merkle_parent(shape, level - 1, i, &block, &at);
			memcpy(hash + block * MERKLE_BLOCK + at, d.bytes, DIGEST_SIZE);
		}
		below = hash + shape->first[level] * MERKLE_BLOCK;
		n_below = shape->n_blocks[level];
	}
	return merkle_digest(root, below, salt);
}

int verity_superblock_encode(uint8_t raw[static VERITY_SUPERBLOCK_SIZE], uint64_t n_data,
			     const uint8_t salt[static MERKLE_SALT_SIZE])
{
	static const uint8_t magic[8] = {'v', 'e', 'r', 'i', 't', 'y'};
	static const uint8_t algorithm[32] = {'s', 'h', 'a', '2', '5', '6'};
	struct digest uuid;
	int r = sha256(&uuid, salt, MERKLE_SALT_SIZE);

	if (r < 0)
		return r;
	memset(raw, 0, VERITY_SUPERBLOCK_SIZE);
	memcpy(raw, magic, sizeof(magic));
	put_le32(raw + 8, 1);  /* version */
	put_le32(raw + 12, 1); /* hash type: salt in front */
	memcpy(raw + 16, uuid.bytes, 16);
	memcpy(raw + 32, algorithm, sizeof(algorithm));
	put_le32(raw + 64, MERKLE_BLOCK); /* data block */
	put_le32(raw + 68, MERKLE_BLOCK); /* hash block */
	put_le64(raw + 72, n_data);
	put_le16(raw + 80, MERKLE_SALT_SIZE);
	memcpy(raw + 88, salt, MERKLE_SALT_SIZE);
	return 0;
}
