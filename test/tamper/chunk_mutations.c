/* SPDX-License-Identifier: Apache-2.0
 * Chunks, entries of the table and blocks of the tree: swapped, replayed, moved, cut, filled and forged. */
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY 64u
#define TAG 16u

struct spot { /* of a chunk */
	uint64_t at;
	uint32_t size, blob;
};

static const uint8_t *index_of(const struct sealed *image)
{
	return image->blobs[image->n_blobs - 1].data;
}

static struct spot spot_of(const struct sealed *image, uint32_t number)
{
	const uint8_t *e = index_of(image) + (size_t)number * ENTRY;

	return (struct spot){get_le64(e + 32), get_le32(e + 40), get_le32(e + 44)};
}

static const uint8_t *bytes_at(const struct sealed *image, const struct spot *p)
{
	return image->blobs[p->blob].data + p->at;
}

static uint32_t index_blob(const struct scene *s)
{
	return store_index(&s->store);
}

void scene_focus(struct scene *s, uint32_t number)
{
	if (s->n_focus < FOCUS_MAX)
		s->focus[s->n_focus++] = number;
}

uint32_t scene_chunk(struct scene *s)
{
	if (s->n_focus > 0 && random_one_in(&s->random, 3))
		return s->focus[random_below(&s->random, s->n_focus)];
	return (uint32_t)random_below(&s->random, random_one_in(&s->random, 8) ? s->store.image->n_meta_chunks
									       : s->store.image->n_chunks);
}

const struct sealed *scene_donor(struct scene *s)
{
	const struct sealed *donors[] = {&s->cast->now.sealed, &s->cast->before.sealed,
					 &s->cast->before.sealed, &s->cast->other.sealed};

	return donors[random_below(&s->random, 4)];
}

static uint32_t chunk_like(struct scene *s, const struct sealed *donor, uint32_t number)
{
	if (number < donor->n_chunks && random_one_in(&s->random, 2))
		return number;
	return (uint32_t)random_below(&s->random, donor->n_chunks);
}

/* --- chunks */

/* The place of chunk `number` gets these bytes, and zeros where they are too few. */
static void put_chunk(struct scene *s, uint32_t number, const uint8_t *from, uint32_t n)
{
	struct spot p = spot_of(s->store.image, number);

	store_edit(&s->store, p.blob, p.at, NULL, p.size);
	store_edit(&s->store, p.blob, p.at, from, n < p.size ? n : p.size);
	scene_focus(s, number);
}

static void swap_chunks(struct scene *s)
{
	uint32_t a = scene_chunk(s), b = scene_chunk(s);
	struct spot pa = spot_of(s->store.image, a), pb = spot_of(s->store.image, b);

	put_chunk(s, a, bytes_at(s->store.image, &pb), pb.size);
	put_chunk(s, b, bytes_at(s->store.image, &pa), pa.size);
}

static void replay_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	const struct sealed *donor = scene_donor(s);
	struct spot p = spot_of(donor, chunk_like(s, donor, a));

	put_chunk(s, a, bytes_at(donor, &p), p.size);
}

static void fill_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	struct spot p = spot_of(s->store.image, a);
	uint64_t from = random_one_in(&s->random, 2) ? 0 : random_below(&s->random, p.size);

	store_edit(&s->store, p.blob, p.at + from, NULL, 1 + random_below(&s->random, p.size - from));
	scene_focus(s, a);
}

static void noise_in_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	struct spot p = spot_of(s->store.image, a);
	uint8_t noise[64];
	size_t n = 1 + random_below(&s->random, p.size < sizeof(noise) ? p.size : sizeof(noise));

	random_fill(&s->random, noise, n);
	store_write(&s->store, p.blob, p.at + random_below(&s->random, p.size - n + 1), noise, n);
	scene_focus(s, a);
}

static void shift_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	struct spot p = spot_of(s->store.image, a);
	uint32_t by = 1 + (uint32_t)random_below(&s->random, p.size - 1);
	const uint8_t *from = bytes_at(s->store.image, &p);

	if (random_one_in(&s->random, 2))
		put_chunk(s, a, from + by, p.size - by);
	else
		store_edit(&s->store, p.blob, p.at + by, from, p.size - by);
	scene_focus(s, a);
}

static void replay_tag(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	struct spot p = spot_of(s->store.image, a), q = spot_of(s->store.image, scene_chunk(s));
	uint64_t kept = random_below(&s->random, TAG);

	store_edit(&s->store, p.blob, p.at + p.size - TAG + kept,
		   random_one_in(&s->random, 3) ? NULL : bytes_at(s->store.image, &q) + q.size - TAG + kept,
		   TAG - kept);
	scene_focus(s, a);
}

static void halves_of_two_chunks(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	struct spot p = spot_of(s->store.image, a), q = spot_of(s->store.image, scene_chunk(s));
	uint64_t n = 1 + random_below(&s->random, p.size < q.size ? p.size : q.size);

	store_edit(&s->store, p.blob, p.at, bytes_at(s->store.image, &q), n);
	scene_focus(s, a);
}

static void give_another_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);

	store_alias(&s->store, a, scene_chunk(s), 0);
	scene_focus(s, a);
}

static void deny_a_chunk(struct scene *s)
{
	uint32_t a = scene_chunk(s);

	store_alias(&s->store, a, a, -ENOENT);
	scene_focus(s, a);
}

/* --- the chunk table */

static void put_entry(struct scene *s, uint32_t number, const uint8_t *from)
{
	store_edit(&s->store, index_blob(s), (uint64_t)number * ENTRY, from, ENTRY);
	scene_focus(s, number);
}

static void swap_entries(struct scene *s)
{
	uint32_t a = scene_chunk(s), b = scene_chunk(s);

	put_entry(s, a, index_of(s->store.image) + (size_t)b * ENTRY);
	put_entry(s, b, index_of(s->store.image) + (size_t)a * ENTRY);
}

static void replay_entry(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	const struct sealed *donor = scene_donor(s);

	put_entry(s, a, index_of(donor) + (size_t)chunk_like(s, donor, a) * ENTRY);
}

void scene_change_number(struct scene *s, uint8_t *field, size_t n)
{
	uint64_t old = n == 8 ? get_le64(field) : get_le32(field), new;
	static const uint64_t steps[] = {1, 16, 64, 4096, 65536};
	uint64_t step = steps[random_below(&s->random, 5)];

	switch (random_below(&s->random, 5)) {
	case 0:
		new = old + step;
		break;
	case 1:
		new = old - step;
		break;
	case 2:
		new = random_next(&s->random);
		break;
	case 3:
		new = old ^ 1ull << random_below(&s->random, 8 * n);
		break;
	default:
		new = random_one_in(&s->random, 2) ? 0 : UINT64_MAX;
	}
	if (n == 8)
		put_le64(field, new);
	else
		put_le32(field, (uint32_t) new);
}

static void change_entry(struct scene *s, uint8_t entry[static ENTRY])
{
	switch (random_below(&s->random, 5)) {
	case 0:
		scene_change_number(s, entry + 32, 8);
		break;
	case 1:
		scene_change_number(s, entry + 40, 4);
		break;
	case 2:
		put_le32(entry + 44, (uint32_t)random_below(&s->random, s->store.image->n_blobs + 1));
		break;
	case 3:
		scene_change_number(s, entry + 8 * random_below(&s->random, 4), 8);
		break;
	default:
		scene_change_number(s, entry + 48 + 8 * random_below(&s->random, 2), 8);
	}
}

static void change_a_field(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	uint8_t entry[ENTRY];

	memcpy(entry, index_of(s->store.image) + (size_t)a * ENTRY, ENTRY);
	change_entry(s, entry);
	store_write(&s->store, index_blob(s), (uint64_t)a * ENTRY, entry, ENTRY);
	scene_focus(s, a);
}

/* --- blocks of the table and the tree */

static struct merkle_shape shape_of(const struct sealed *image)
{
	struct merkle_shape shape;

	if (merkle_shape_init(&shape, chunk_table_size(image->n_chunks) / BLOCK_SIZE) < 0)
		abort();
	return shape;
}

static uint64_t hash_area(const struct sealed *image)
{
	return chunk_table_size(image->n_chunks) + BLOCK_SIZE;
}

static void put_block(struct scene *s, uint64_t at, const uint8_t *from)
{
	store_edit(&s->store, index_blob(s), at, from, BLOCK_SIZE);
}

static void swap_table_blocks(struct scene *s)
{
	uint64_t a = scene_chunk(s) / 64, b = scene_chunk(s) / 64;

	put_block(s, a * BLOCK_SIZE, index_of(s->store.image) + b * BLOCK_SIZE);
	put_block(s, b * BLOCK_SIZE, index_of(s->store.image) + a * BLOCK_SIZE);
	scene_focus(s, (uint32_t)(a * 64));
	scene_focus(s, (uint32_t)(b * 64));
}

static void replay_table_block(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	const struct sealed *donor = scene_donor(s);
	uint64_t b = chunk_like(s, donor, a) / 64;

	put_block(s, (uint64_t)a / 64 * BLOCK_SIZE,
		  random_one_in(&s->random, 8) ? NULL : index_of(donor) + b * BLOCK_SIZE);
	scene_focus(s, a);
}

/* A chunk under hash block `block` of the hash area; the top is over all. */
static uint32_t chunk_under(struct scene *s, const struct merkle_shape *shape, uint64_t block)
{
	uint64_t first = shape->n_levels > 0 ? shape->first[0] : 0, number;

	if (block < first || shape->n_levels < 2)
		return scene_chunk(s);
	number =
		(block - first) * MERKLE_FANOUT * 64 + random_below(&s->random, (uint64_t)MERKLE_FANOUT * 64);
	return number < s->store.image->n_chunks ? (uint32_t)number : scene_chunk(s);
}

static void swap_tree_blocks(struct scene *s)
{
	struct merkle_shape shape = shape_of(s->store.image);
	uint64_t area = hash_area(s->store.image), a, b;

	if (shape.n_hash == 0)
		return;
	a = random_below(&s->random, shape.n_hash);
	b = random_below(&s->random, shape.n_hash);
	put_block(s, area + a * BLOCK_SIZE, index_of(s->store.image) + area + b * BLOCK_SIZE);
	put_block(s, area + b * BLOCK_SIZE, index_of(s->store.image) + area + a * BLOCK_SIZE);
	scene_focus(s, chunk_under(s, &shape, a));
	scene_focus(s, chunk_under(s, &shape, b));
}

static void replay_tree_block(struct scene *s)
{
	struct merkle_shape shape = shape_of(s->store.image), from;
	const struct sealed *donor = scene_donor(s);
	uint64_t a;

	from = shape_of(donor);
	if (shape.n_hash == 0 || from.n_hash == 0)
		return;
	a = random_below(&s->random, shape.n_hash);
	put_block(s, hash_area(s->store.image) + a * BLOCK_SIZE,
		  random_one_in(&s->random, 8) ? NULL
					       : index_of(donor) + hash_area(donor) +
							 random_below(&s->random, from.n_hash) * BLOCK_SIZE);
	scene_focus(s, chunk_under(s, &shape, a));
}

static void swap_digests(struct scene *s)
{
	struct merkle_shape shape = shape_of(s->store.image);
	uint64_t area = hash_area(s->store.image), a, b;

	if (shape.n_hash == 0)
		return;
	a = random_below(&s->random, shape.n_hash * MERKLE_FANOUT) * DIGEST_SIZE;
	b = random_below(&s->random, shape.n_hash * MERKLE_FANOUT) * DIGEST_SIZE;
	store_edit(&s->store, index_blob(s), area + a, index_of(s->store.image) + area + b, DIGEST_SIZE);
	store_edit(&s->store, index_blob(s), area + b, index_of(s->store.image) + area + a, DIGEST_SIZE);
	scene_focus(s, chunk_under(s, &shape, a / BLOCK_SIZE));
	scene_focus(s, chunk_under(s, &shape, b / BLOCK_SIZE));
}

/* Two lowest hash blocks change places, with all that is below them. */
static void swap_subtrees(struct scene *s)
{
	struct merkle_shape shape = shape_of(s->store.image);
	const uint8_t *index = index_of(s->store.image);
	uint64_t area = hash_area(s->store.image), below = (uint64_t)MERKLE_FANOUT * BLOCK_SIZE, a, b;

	if (shape.n_levels < 2)
		return;
	a = random_below(&s->random, shape.n_blocks[0] - 1); /* the last one may not be full */
	b = random_below(&s->random, shape.n_blocks[0] - 1);
	put_block(s, area + (shape.first[0] + a) * BLOCK_SIZE,
		  index + area + (shape.first[0] + b) * BLOCK_SIZE);
	put_block(s, area + (shape.first[0] + b) * BLOCK_SIZE,
		  index + area + (shape.first[0] + a) * BLOCK_SIZE);
	store_edit(&s->store, index_blob(s), a * below, index + b * below, below);
	store_edit(&s->store, index_blob(s), b * below, index + a * below, below);
	scene_focus(s, chunk_under(s, &shape, shape.first[0] + a));
	scene_focus(s, chunk_under(s, &shape, shape.first[0] + b));
}

/* --- forgeries: all that can be made to fit without a key */

/* Hash the path from table block `block` up, and set the descriptor's root to the result. */
static void rebuild_path(struct scene *s, uint64_t block)
{
	struct merkle_shape shape = shape_of(s->store.image);
	uint64_t area = hash_area(s->store.image), at = block * BLOCK_SIZE;
	const uint8_t *salt = s->store.descriptor + 48;
	uint8_t raw[BLOCK_SIZE];
	struct digest d;

	for (int level = -1;; level++) {
		uint64_t parent;
		size_t in;

		if (store_read(&s->store, index_blob(s), at, raw, sizeof(raw)) < 0 ||
		    merkle_digest(&d, raw, salt) < 0)
			return;
		if (level == shape.n_levels - 1)
			break;
		merkle_parent(&shape, level, block, &parent, &in);
		at = area + parent * BLOCK_SIZE;
		store_write(&s->store, index_blob(s), at + in, d.bytes, DIGEST_SIZE);
		block /= MERKLE_FANOUT;
	}
	memcpy(s->store.descriptor + DESCRIPTOR_ROOT_HASH_OFFSET, d.bytes, DIGEST_SIZE);
	s->identity = true;
}

static void forge_entry(struct scene *s)
{
	uint32_t a = scene_chunk(s);
	const struct sealed *donor = scene_donor(s);
	uint8_t entry[ENTRY];

	memcpy(entry, index_of(donor) + (size_t)chunk_like(s, donor, a) * ENTRY, ENTRY);
	if (random_one_in(&s->random, 2))
		change_entry(s, entry);
	store_write(&s->store, index_blob(s), (uint64_t)a * ENTRY, entry, ENTRY);
	rebuild_path(s, a / 64);
	scene_focus(s, a);
}

static void forge_swap(struct scene *s)
{
	uint32_t a, b;

	swap_entries(s);
	a = s->focus[s->n_focus - 1];
	b = s->focus[s->n_focus > 1 ? s->n_focus - 2 : 0];
	rebuild_path(s, a / 64);
	rebuild_path(s, b / 64);
}

/* Other stored bytes under an id that is right for them. */
static void forge_chunk(struct scene *s)
{
	static void (*const changes[])(struct scene *) = {noise_in_chunk, replay_chunk,		fill_chunk,
							  replay_tag,	  halves_of_two_chunks, shift_chunk};
	static uint8_t stored[MAX_STORED_SIZE];
	struct spot p;
	struct digest id;
	uint32_t a;

	changes[random_below(&s->random, 6)](s);
	a = s->focus[s->n_focus - 1];
	p = spot_of(s->store.image, a);
	if (store_read(&s->store, p.blob, p.at, stored, p.size) < 0 || sha256(&id, stored, p.size) < 0)
		return;
	store_write(&s->store, index_blob(s), (uint64_t)a * ENTRY, id.bytes, DIGEST_SIZE);
	rebuild_path(s, a / 64);
}

const struct mutation chunk_mutations[] = {
	{"two chunks swapped", swap_chunks},
	{"a chunk replayed", replay_chunk},
	{"a chunk filled with zeros", fill_chunk},
	{"noise in a chunk", noise_in_chunk},
	{"a chunk shifted", shift_chunk},
	{"a tag replayed", replay_tag},
	{"halves of two chunks", halves_of_two_chunks},
	{"another chunk given", give_another_chunk},
	{"a chunk denied", deny_a_chunk},
	{"two entries swapped", swap_entries},
	{"an entry replayed", replay_entry},
	{"a field of an entry changed", change_a_field},
	{"two table blocks swapped", swap_table_blocks},
	{"a table block replayed", replay_table_block},
	{"two hash blocks swapped", swap_tree_blocks},
	{"a hash block replayed", replay_tree_block},
	{"two digests swapped", swap_digests},
	{"two subtrees swapped", swap_subtrees},
	{"an entry forged", forge_entry},
	{"two entries swapped, tree forged", forge_swap},
	{"a chunk forged", forge_chunk},
};
const size_t n_chunk_mutations = sizeof(chunk_mutations) / sizeof(chunk_mutations[0]);
