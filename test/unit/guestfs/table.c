/* SPDX-License-Identifier: Apache-2.0
 * Entries of a table that is too large to be kept: fetched in groups, checked by their path, whatever the
 * host sends. */
#include "guestfs/table.h"
#include "crypto/merkle.h"
#include "proto/base/bytes.h"
#include "source_memory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 40000u /* 625 table blocks, 5 + 1 hash blocks */

static struct sealed sealed;
static struct source_memory source;
static struct descriptor d;
static uint64_t blob_sizes[2];
static struct table *table;

static struct chunk_entry entry_of(uint32_t number)
{
	struct chunk_entry x = {.stored_size = 100 + number % 50, .blob = number < 5};

	put_le32(x.id.bytes, number * 2654435761u);
	x.offset = x.blob == 1 ? d.meta_offset + number * 200 : (uint64_t)number * 200;
	return x;
}

static void make(uint32_t n)
{
	struct merkle_shape shape;
	struct blob *index = &sealed.blobs[1];

	d = (struct descriptor){
		.n_chunks = n, .n_blobs = 2, .n_meta_chunks = 5, .meta_offset = meta_offset_of(n)};
	memset(d.salt, 0x5a, sizeof(d.salt));
	sealed.n_blobs = 2;
	index->size = (size_t)d.meta_offset;
	index->data = calloc(1, index->size);
	cr_assert(index->data);
	blob_sizes[0] = (uint64_t)n * 200;
	blob_sizes[1] = d.meta_offset + 5000;
	for (uint32_t k = 0; k < n; k++) {
		struct chunk_entry x = entry_of(k);

		chunk_entry_encode(&x, index->data + (size_t)k * CHUNK_ENTRY_SIZE);
	}
	cr_assert_eq(merkle_shape_init(&shape, chunk_table_size(n) / MERKLE_BLOCK), 0);
	cr_assert_eq(merkle_build(&shape, index->data, index->data + chunk_table_size(n) + MERKLE_BLOCK,
				  d.salt, &d.root_hash),
		     0);
	source_memory_init(&source, &sealed);
}

static void set_up(void)
{
	make(ENTRIES);
}

static void tear_down(void)
{
	table_close(table);
	free(sealed.blobs[1].data);
}

TestSuite(table, .init = set_up, .fini = tear_down, .timeout = 60);

static void must_open(void)
{
	struct err e = {""};
	int r = table_open(&table, &source.source, &d, blob_sizes, &e);

	cr_assert_eq(r, 0, "%s", e.text);
}

static int check(uint32_t number)
{
	struct chunk_entry got, want = entry_of(number);
	struct err e = {""};
	int r = table_entry(table, number, &got, &e);

	if (r == 0) {
		cr_assert(digest_equal(&got.id, &want.id));
		cr_assert_eq(got.offset, want.offset);
		cr_assert_eq(got.stored_size, want.stored_size);
		cr_assert_eq(got.blob, want.blob);
	}
	return r;
}

Test(table, gives_every_entry_and_fetches_groups)
{
	must_open();
	cr_assert_eq(source.index_reads, 1);
	for (uint32_t k = 0; k < ENTRIES; k++)
		cr_assert_eq(check(k), 0);
	cr_assert_eq(source.index_reads, 1 + (625 + 15) / 16);
	/* more than is kept: random access works all the same */
	for (uint32_t k = 0; k < 20000; k++)
		cr_assert_eq(check(k * 2654435761u % ENTRIES), 0);
	cr_assert_eq(check(ENTRIES), -EINVAL);
	cr_assert_eq(table_verify_end(table, NULL), 0);
}

Test(table, a_small_one_is_fetched_once)
{
	tear_down();
	for (uint32_t n = 6; n < 16000; n = n * 3 + 1) {
		make(n);
		must_open();
		for (uint32_t k = 0; k < n; k++)
			cr_assert_eq(check(k), 0);
		cr_assert_eq(source.index_reads, 1);
		cr_assert_eq(table_verify_end(table, NULL), 0);
		tear_down();
	}
	table = NULL;
	set_up();
}

/* While `bad` is inside what is read, a bit there is wrong. */
static uint64_t bad;

static int flip(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)arg;
	if (where == IN_INDEX && bad >= offset && bad - offset < n)
		p[bad - offset] ^= 0x80;
	return 0;
}

static unsigned int count_bad(void)
{
	unsigned int n = 0;

	for (uint32_t k = 0; k < ENTRIES; k += 16) {
		int r = check(k);

		cr_assert(r == 0 || r == -EBADMSG);
		n += r != 0;
	}
	return n;
}

Test(table, a_flipped_bit_costs_the_entries_below_it_until_it_is_right_again)
{
	uint64_t hashes = chunk_table_size(ENTRIES) + MERKLE_BLOCK;
	struct {
		uint64_t at;
		unsigned int entries; /* of 2500 samples, 4 to a block */
	} cases[] = {
		{0, 4},
		{300 * 4096 + 77, 4},
		{624 * 4096 + 4000, 4},	  /* the padding of the last block */
		{hashes, 2500},		  /* the top block */
		{hashes + 4096, 512},	  /* the first block below it */
		{hashes + 5 * 4096, 452}, /* the last one */
		{hashes - 4096, 0},	  /* the superblock: nobody reads it */
	};

	source.tamper = flip;
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		bad = cases[k].at;
		must_open();
		cr_assert_eq(count_bad(), cases[k].entries, "case %zu", k);
		bad = UINT64_MAX;
		cr_assert_eq(count_bad(), 0);
		table_close(table);
	}
	table = NULL;
}

Test(table, a_tree_of_more_than_one_read_is_fetched_as_far_as_one_goes)
{
	const uint32_t n = 64 * 128 * 260; /* 260 blocks of digests: 4 KiB more than 1 MiB with those above */

	tear_down();
	make(n);
	must_open();
	cr_assert_eq(source.index_reads, 1);
	cr_assert_eq(check(0), 0);
	cr_assert_eq(check(n - 1), 0);
	tear_down();
	table = NULL;
	set_up();
}

static int zeros(struct source *s, void *to, size_t n, uint64_t offset, struct err *e)
{
	(void)s;
	(void)offset;
	(void)e;
	memset(to, 0, n);
	return 0;
}

Test(table, of_the_largest_size_may_be_a_lie)
{
	const struct source_ops ops = {.read_index = zeros};
	struct source none = {&ops};
	struct chunk_entry x;

	d.n_chunks = 1u << 30;
	d.meta_offset = meta_offset_of(d.n_chunks);
	/* nothing of it is right, which is told to whoever asks for an entry */
	cr_assert_eq(table_open(&table, &none, &d, blob_sizes, NULL), 0);
	cr_assert_eq(table_entry(table, d.n_chunks - 1, &x, NULL), -EBADMSG);
}

Test(table, refuses_a_table_of_no_chunks)
{
	struct err e = {""};

	d.n_chunks = 0;
	cr_assert_eq(table_open(&table, &source.source, &d, blob_sizes, &e), -EINVAL);
	cr_assert_eq(source.index_reads, 0);
	cr_assert_null(table);
	table_close(table);
}

Test(table, entries_that_are_authentic_and_wrong_are_refused)
{
	tear_down();
	make(100);
	/* a publisher's mistake: the tree vouches for an entry that leaves its blob */
	put_le64(sealed.blobs[1].data + 50 * CHUNK_ENTRY_SIZE + 32, blob_sizes[0]);
	sealed.blobs[1].data[100 * CHUNK_ENTRY_SIZE] = 1;
	{
		struct merkle_shape shape;

		cr_assert_eq(merkle_shape_init(&shape, 2), 0);
		cr_assert_eq(merkle_build(&shape, sealed.blobs[1].data,
					  sealed.blobs[1].data + 3 * MERKLE_BLOCK, d.salt, &d.root_hash),
			     0);
	}
	must_open();
	cr_assert_eq(check(49), 0);
	cr_assert_eq(check(50), -EUCLEAN);
	cr_assert_eq(table_verify_end(table, NULL), -EUCLEAN);
}

static int fail(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)arg;
	(void)where;
	(void)offset;
	(void)p;
	(void)n;
	return -ETIMEDOUT;
}

Test(table, the_sources_failures_travel_up)
{
	must_open();
	source.tamper = fail;
	cr_assert_eq(check(30000), -ETIMEDOUT);
	source.tamper = NULL;
	cr_assert_eq(check(30000), 0);
	table_close(table);
	table = NULL;
	/* 40000 entries end with their block, these do not */
	free(sealed.blobs[1].data);
	make(ENTRIES - 1);
	must_open();
	source.tamper = fail;
	cr_assert_eq(table_verify_end(table, NULL), -ETIMEDOUT);
	source.tamper = NULL;
	cr_assert_eq(table_verify_end(table, NULL), 0);
	table_close(table);
	table = NULL;
	source.tamper = fail;
	cr_assert_eq(table_open(&table, &source.source, &d, blob_sizes, NULL), -ETIMEDOUT);
}
