/* SPDX-License-Identifier: Apache-2.0
 * The hash tree: shapes at the edges, the way from every block to the root, and a flip anywhere on it. */
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/format/descriptor.h"
#include "proto/format/format.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t salt[MERKLE_SALT_SIZE] = {1, 2, 3, 4};

Test(merkle, shapes)
{
	static const struct {
		uint64_t n_data;
		int n_levels;
		uint64_t n_hash, first0;
	} shapes[] = {
		{1, 0, 0, 0},
		{2, 1, 1, 0},
		{128, 1, 1, 0},
		{129, 2, 3, 1},
		{16384, 2, 129, 1},
		{16385, 3, 132, 3},
		{1 << 21, 3, 16384 + 129, 129},
		{1ull << 24, 4, 131072 + 1024 + 8 + 1, 1024 + 8 + 1},
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct merkle_shape s;

		cr_assert_eq(merkle_shape_init(&s, shapes[i].n_data), 0);
		cr_assert_eq(s.n_levels, shapes[i].n_levels, "%zu", i);
		cr_assert_eq(s.n_hash, shapes[i].n_hash, "%zu", i);
		cr_assert_eq(s.first[0], shapes[i].first0, "%zu", i);
		/* proto/ counts the same without knowing of hashes */
		cr_assert_eq(s.n_hash, hash_tree_blocks(shapes[i].n_data));
	}
}

Test(merkle, refuses_impossible_sizes)
{
	struct merkle_shape s;

	cr_assert_eq(merkle_shape_init(&s, 0), -EINVAL);
	cr_assert_eq(merkle_shape_init(&s, (1ull << 32) + 1), -EINVAL);
	cr_assert_eq(merkle_shape_init(&s, UINT64_MAX), -EINVAL);
	cr_assert_eq(merkle_shape_init(&s, 1ull << 32), 0);
	cr_assert_leq(s.n_levels, MERKLE_MAX_LEVELS);
}

struct tree {
	struct merkle_shape shape;
	uint8_t *data, *hash;
	struct digest root;
};

static void tree_init(struct tree *t, uint64_t n)
{
	cr_assert_eq(merkle_shape_init(&t->shape, n), 0);
	t->data = malloc(n * BLOCK_SIZE);
	t->hash = malloc((t->shape.n_hash + 1) * BLOCK_SIZE);
	cr_assert(t->data && t->hash);
	for (uint64_t i = 0; i < n * BLOCK_SIZE; i += 8)
		put_le64(t->data + i, i * 0x9e3779b97f4a7c15ull);
	cr_assert_eq(merkle_build(&t->shape, t->data, t->hash, salt, &t->root), 0);
}

static void tree_deinit(struct tree *t)
{
	free(t->data);
	free(t->hash);
}

/* Check data block `index` as a reader does: its block against the digest above, up to the root. */
static int check_path(const struct tree *t, uint64_t index)
{
	const uint8_t *block = t->data + index * BLOCK_SIZE;

	for (int level = -1; level + 1 < t->shape.n_levels; level++) {
		struct digest want;
		uint64_t parent;
		size_t at;
		int r;

		merkle_parent(&t->shape, level, index, &parent, &at);
		cr_assert_lt(parent, t->shape.n_hash);
		memcpy(want.bytes, t->hash + parent * BLOCK_SIZE + at, DIGEST_SIZE);
		r = merkle_check(block, &want, salt);
		if (r < 0)
			return r;
		block = t->hash + parent * BLOCK_SIZE;
		index = parent - t->shape.first[level + 1];
	}
	return merkle_check(block, &t->root, salt);
}

Test(merkle, every_path_leads_to_the_root)
{
	static const uint64_t sizes[] = {1, 2, 127, 128, 129, 300};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tree t;

		tree_init(&t, sizes[i]);
		for (uint64_t k = 0; k < sizes[i]; k++)
			cr_assert_eq(check_path(&t, k), 0, "block %d of %d", (int)k, (int)sizes[i]);
		tree_deinit(&t);
	}
}

Test(merkle, a_flip_breaks_what_it_covers_and_nothing_else)
{
	struct tree t;

	tree_init(&t, 129);
	t.data[5 * BLOCK_SIZE + 17] ^= 1;
	cr_assert_eq(check_path(&t, 5), -EBADMSG);
	cr_assert_eq(check_path(&t, 4), 0);
	cr_assert_eq(check_path(&t, 128), 0);
	t.data[5 * BLOCK_SIZE + 17] ^= 1;
	t.hash[t.shape.first[0] * BLOCK_SIZE + 40] ^=
		1; /* digest of block 1: its whole hash block is wrong now */
	cr_assert_eq(check_path(&t, 1), -EBADMSG);
	cr_assert_eq(check_path(&t, 0), -EBADMSG);
	cr_assert_eq(check_path(&t, 128), 0);
	t.hash[t.shape.first[0] * BLOCK_SIZE + 40] ^= 1;
	t.hash[BLOCK_SIZE - 1] ^= 1; /* unused part of the root block */
	cr_assert_eq(check_path(&t, 128), -EBADMSG);
	tree_deinit(&t);
}

Test(merkle, swapped_blocks_and_subtrees_are_seen)
{
	uint8_t block[BLOCK_SIZE];
	struct tree t;

	tree_init(&t, 300);
	memcpy(block, t.data, BLOCK_SIZE);
	memcpy(t.data, t.data + BLOCK_SIZE, BLOCK_SIZE);
	memcpy(t.data + BLOCK_SIZE, block, BLOCK_SIZE);
	cr_assert_eq(check_path(&t, 0), -EBADMSG);
	cr_assert_eq(check_path(&t, 1), -EBADMSG);
	tree_deinit(&t);
	tree_init(&t, 300);
	memcpy(t.hash + t.shape.first[0] * BLOCK_SIZE, t.hash + (t.shape.first[0] + 1) * BLOCK_SIZE,
	       BLOCK_SIZE);
	cr_assert_eq(check_path(&t, 0), -EBADMSG);
	tree_deinit(&t);
}

Test(merkle, salt_and_unused_digests)
{
	static const uint8_t other[MERKLE_SALT_SIZE] = {1, 2, 3, 5};
	struct digest d, want;
	struct tree t;

	tree_init(&t, 2);
	for (int i = 2 * DIGEST_SIZE; i < (int)BLOCK_SIZE; i++)
		cr_assert_eq(t.hash[i], 0, "[V1]");
	cr_assert_eq(merkle_digest(&d, t.data, salt), 0);
	cr_assert_eq(sha256_pair(&want, salt, sizeof(salt), t.data, BLOCK_SIZE), 0);
	cr_assert(digest_equal(&d, &want));
	cr_assert_eq(merkle_check(t.data, &want, other), -EBADMSG);
	tree_deinit(&t);
}

Test(merkle, superblock_is_what_veritysetup_reads)
{
	uint8_t raw[VERITY_SUPERBLOCK_SIZE];
	struct digest uuid;

	cr_assert_eq(verity_superblock_encode(raw, 77, salt), 0);
	cr_assert_eq(memcmp(raw, "verity\0\0", 8), 0);
	cr_assert_eq(get_le32(raw + 8), 1);
	cr_assert_eq(get_le32(raw + 12), 1);
	cr_assert_eq(sha256(&uuid, salt, sizeof(salt)), 0);
	cr_assert_arr_eq(raw + 16, uuid.bytes, 16);
	cr_assert_str_eq((char *)raw + 32, "sha256");
	cr_assert_eq(get_le32(raw + 64), 4096);
	cr_assert_eq(get_le32(raw + 68), 4096);
	cr_assert_eq(get_le64(raw + 72), 77);
	cr_assert_eq(get_le16(raw + 80), 32);
	cr_assert_arr_eq(raw + 88, salt, 32);
	for (int i = 120; i < VERITY_SUPERBLOCK_SIZE; i++)
		cr_assert_eq(raw[i], 0);
}
