/* SPDX-License-Identifier: Apache-2.0
 * A table of N pseudo-random blocks, its superblock and its hash tree, laid out as in an index blob
 * (FORMAT.md §5), for verity.sh to show to veritysetup.  usage: verity-tool N FILE → root and salt in hex */
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/io.h"
#include "proto/format/format.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Distinct blocks that need no random source: a counter hashed, and repeated to fill the block. */
static int fill(uint8_t *data, uint64_t n_blocks)
{
	for (uint64_t i = 0; i < n_blocks; i++) {
		uint8_t number[8];
		struct digest d;

		put_le64(number, i);
		if (sha256(&d, number, sizeof(number)) < 0)
			return -1;
		for (size_t at = 0; at < BLOCK_SIZE; at += DIGEST_SIZE)
			memcpy(data + i * BLOCK_SIZE + at, d.bytes, DIGEST_SIZE);
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc == 3 ? strtoull(argv[1], NULL, 10) : 0, hash_at;
	char root_hex[DIGEST_HEX_SIZE], salt_hex[DIGEST_HEX_SIZE];
	struct merkle_shape shape;
	struct digest salt, root;
	struct err e = {""};
	uint8_t *all;

	if (merkle_shape_init(&shape, n) < 0 || sha256(&salt, "salt", 4) < 0)
		return 2;
	hash_at = (n + 1) * BLOCK_SIZE;
	all = calloc(n + 1 + shape.n_hash, BLOCK_SIZE);
	if (!all || fill(all, n) < 0 || verity_superblock_encode(all + n * BLOCK_SIZE, n, salt.bytes) < 0 ||
	    merkle_build(&shape, all, all + hash_at, salt.bytes, &root) < 0 ||
	    file_write(AT_FDCWD, argv[2], all, hash_at + shape.n_hash * BLOCK_SIZE, 0600, &e) < 0) {
		(void)fprintf(stderr, "failed: %s\n", e.text);
		return 1;
	}
	(void)printf("%s %s\n", digest_hex(&root, root_hex), digest_hex(&salt, salt_hex));
	free(all);
	return 0;
}
