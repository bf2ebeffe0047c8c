/* SPDX-License-Identifier: Apache-2.0
 * The hash tree against cryptsetup's known answer for 8 MiB of zeros (its tests/verity-compat-test), the only
 * one there with blocks and a salt of our sizes. */
#include "crypto/merkle.h"
#include "proto/base/bytes.h"
#include "proto/format/format.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const uint8_t salt[MERKLE_SALT_SIZE] = {
	0xe4, 0x8d, 0xa6, 0x09, 0x05, 0x52, 0x04, 0xe8, 0x9a, 0xe5, 0x3b, 0x65, 0x5c, 0xa2, 0x21, 0x6d,
	0xd9, 0x83, 0xcf, 0x3c, 0xb8, 0x29, 0xf3, 0x4f, 0x63, 0xa2, 0x97, 0xd1, 0x06, 0xd5, 0x3e, 0x2d,
};

Test(verity, eight_mebibytes_of_zeros)
{
	static const char want[] = "sha256:e522df0f97da4febb882ac40f30b37dc0b444bf6df418929463fa25280f09d5c";
	uint8_t *data = calloc(2048, BLOCK_SIZE), *hash;
	char text[DIGEST_TEXT_SIZE];
	struct merkle_shape shape;
	struct digest root;

	cr_assert_not_null(data);
	cr_assert_eq(merkle_shape_init(&shape, 2048), 0);
	cr_assert_eq(shape.n_hash, 17);
	hash = malloc(shape.n_hash * BLOCK_SIZE);
	cr_assert_not_null(hash);
	cr_assert_eq(merkle_build(&shape, data, hash, salt, &root), 0);
	cr_assert_str_eq(digest_text(&root, text), want);
	free(data);
	free(hash);
}

/* "The root alone is not the identity": the hash blocks of one level, taken as data, have the same root. */
Test(verity, root_alone_does_not_fix_the_size)
{
	uint8_t *data = calloc(2048, BLOCK_SIZE), *hash, *hash_of_hash;
	struct merkle_shape shape, smaller;
	struct digest root, again;

	cr_assert_not_null(data);
	cr_assert_eq(merkle_shape_init(&shape, 2048), 0);
	cr_assert_eq(merkle_shape_init(&smaller, shape.n_blocks[0]), 0);
	hash = malloc(shape.n_hash * BLOCK_SIZE);
	hash_of_hash = malloc(smaller.n_hash * BLOCK_SIZE);
	cr_assert(hash && hash_of_hash);
	cr_assert_eq(merkle_build(&shape, data, hash, salt, &root), 0);
	cr_assert_eq(merkle_build(&smaller, hash + shape.first[0] * BLOCK_SIZE, hash_of_hash, salt, &again),
		     0);
	cr_assert(digest_equal(&root, &again), "why the descriptor, not the root, is the identity");
	free(data);
	free(hash);
	free(hash_of_hash);
}
