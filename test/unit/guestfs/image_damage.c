/* SPDX-License-Identifier: Apache-2.0
 * The image reader against damage: every flipped byte is found by reads and by image_verify(), which finds
 * more: what a publisher got wrong. */
#include "crypto/sha256.h"
#include "image_world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(image_damage, .init = make_plain, .fini = drop_plain, .timeout = 120);

Test(image_damage, verifies_what_was_sealed)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	int r;

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 8192, .page_extents = 100, .startup = true});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	r = image_verify(i, NULL, NULL, &e);
	cr_assert_eq(r, 0, "%s", e.text);
	image_close(i);
	seal_free(&sealed);
}

/* One byte that is wrong whenever it is handed out. */
struct flip {
	enum where where;
	uint64_t offset; /* of the byte; for chunks: the chunk */
	size_t at;	 /* in the chunk */
};

static int flip_byte(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const struct flip *f = arg;

	if (where != f->where)
		return 0;
	if (where == IN_CHUNK) {
		if (offset == f->offset)
			p[f->at % n] ^= 0x10;
	} else if (f->offset >= offset && f->offset - offset < n) {
		p[f->offset - offset] ^= 0x10;
	}
	return 0;
}

Test(image_damage, every_byte_of_manifest_layers_and_descriptor_counts)
{
	struct source_memory s;
	struct sealed sealed;
	struct err e = {""};
	struct flip f = {.where = IN_DESCRIPTOR};

	seal(&sealed, plain, SIZE, &(struct seal_options){.n_data_blobs = 2});
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.offset = 0; f.offset < DESCRIPTOR_SIZE; f.offset++) {
		struct image *i = NULL;
		int r = try_open(&i, &s, &e);

		cr_assert(r == -EBADMSG || r == -EUCLEAN || r == -ENOTSUP || r == -ENOKEY, "byte %d: %d",
			  (int)f.offset, r);
		cr_assert_null(i);
	}
	/* the digest of the first data blob, in the manifest */
	f.where = IN_MANIFEST;
	f.offset = (uint64_t)(strstr(strstr(sealed.manifest, "layer.cocoon.v1"), "sha256:") + 10 -
			      sealed.manifest);
	for (int k = 0; k < 50; k++, f.offset++) {
		struct image *i = NULL;

		cr_assert_lt(try_open(&i, &s, &e), 0);
	}
	cr_assert_eq(s.closed, 0); /* a failed open leaves the source to its owner */
	seal_free(&sealed);
}

/* Read everything in blocks; each is right or -EBADMSG, and in all `bad` are. */
static size_t count_bad_blocks(struct image *i)
{
	uint8_t got[4096];
	struct err e = {""};
	size_t bad = 0;

	for (size_t at = 0; at < SIZE; at += sizeof(got)) {
		int r = image_pread(i, got, sizeof(got), at, &e);

		cr_assert(r == 0 || r == -EBADMSG, "%d: %s", r, e.text);
		if (r == 0) {
			cr_assert_eq(memcmp(got, plain + at, sizeof(got)), 0);
		} else {
			for (size_t k = 0; k < sizeof(got); k++)
				cr_assert_eq(got[k], 0);
			bad++;
		}
	}
	return bad;
}

Test(image_damage, one_flipped_byte_fails_its_chunk_and_nothing_else)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_CHUNK};
	uint32_t last;

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 65536});
	last = sealed.n_chunks - 1;
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.at = 0; f.at < 4000; f.at += 397) {
		struct image *i;

		f.offset = last;
		i = must_open(&s);
		cr_assert_eq(count_bad_blocks(i),
			     15); /* the last chunk is a block shorter: metadata is one block */
		/* the host changes its mind: the same read is good again */
		f.offset = UINT64_MAX;
		cr_assert_eq(count_bad_blocks(i), 0);
		image_close(i);
	}
	seal_free(&sealed);
}

Test(image_damage, a_flipped_byte_of_table_or_tree_fails_what_it_covers)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_INDEX};
	uint64_t table, offset;

	/* 768 data chunks of a block: 13 table blocks */
	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 4096});
	table = (uint64_t)(sealed.n_chunks + 63) / 64 * 4096;
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (offset = 4096; offset < table; offset += 4096 + 64) {
		struct image *i;
		size_t bad;

		f.offset = offset;
		i = must_open(&s);
		bad = count_bad_blocks(i);
		cr_assert(bad > 0 && bad < 400, "at %d: %zu", (int)offset, bad);
		image_close(i);
	}
	/* the superblock is nobody's business here, and the root hash block is everybody's */
	f.offset = table + 100;
	{
		struct image *i = must_open(&s);

		cr_assert_eq(count_bad_blocks(i), 0);
		image_close(i);
	}
	f.offset = table + 4096;
	{
		struct err e = {""};
		struct image *i = NULL;

		cr_assert_eq(try_open(&i, &s, &e), -EBADMSG);
	}
	seal_free(&sealed);
}

Test(image_damage, verify_finds_every_flip)
{
	struct source_memory s;
	struct sealed sealed;
	struct flip f = {.where = IN_CHUNK};
	struct err e = {""};

	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 65536, .page_extents = 20, .startup = true});
	source_memory_init(&s, &sealed);
	s.tamper = flip_byte;
	s.arg = &f;
	for (f.offset = 0; f.offset < sealed.n_chunks; f.offset++) {
		struct image *i = NULL;
		int r = try_open(&i, &s, &e);

		f.at = (size_t)f.offset * 31;
		if (r == 0)
			r = image_verify(i, NULL, NULL, &e);
		cr_assert_eq(r, -EBADMSG, "chunk %d: %d", (int)f.offset, r);
		image_close(i);
	}
	seal_free(&sealed);
}

/* What a publisher got wrong and the hash tree vouches for. */
static int verify_sealed(const struct seal_options *o, bool spoil)
{
	struct flip f = {.where = IN_CHUNK, .at = 5};
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	struct err e = {""};
	int r;

	seal(&sealed, plain, SIZE, o);
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	f.offset = sealed.n_chunks - 1;
	s.arg = &f;
	s.tamper = spoil ? flip_byte : NULL;
	r = image_verify(i, NULL, NULL, &e);
	cr_assert(r == 0 || e.text[0], "words");
	image_close(i);
	seal_free(&sealed);
	return r;
}

Test(image_damage, verify_looks_at_chunks_that_nothing_names)
{
	const struct seal_options o = {.unnamed = true};

	cr_assert_eq(verify_sealed(&o, false), 0);
	cr_assert_eq(verify_sealed(&o, true), -EBADMSG);
}

Test(image_damage, verify_finds_one_id_in_two_entries)
{
	cr_assert_eq(verify_sealed(&(struct seal_options){.id_twice = true}, false), -EUCLEAN);
}

Test(image_damage, verify_finds_numbers_on_the_start_up_list_that_are_none)
{
	static const uint32_t numbers[] = {0, 0x40000000, UINT32_MAX};

	for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++)
		cr_assert_eq(
			verify_sealed(&(struct seal_options){.startup = true, .startup_first = &numbers[k]},
				      false),
			-EUCLEAN, "%u", numbers[k]);
}

static void count_progress(void *arg, uint64_t done, uint64_t total)
{
	uint64_t *last = arg;

	cr_assert(done >= *last && done <= total);
	*last = done;
}

Test(image_damage, verify_says_how_far_it_is)
{
	struct source_memory s;
	struct sealed sealed;
	struct image *i;
	uint64_t last = 0;

	seal(&sealed, plain, SIZE, &(struct seal_options){0});
	source_memory_init(&s, &sealed);
	i = must_open(&s);
	cr_assert_eq(image_verify(i, count_progress, &last, NULL), 0);
	cr_assert_eq(last, SIZE);
	image_close(i);
	seal_free(&sealed);
}

static int fail_where(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	const struct flip *f = arg;

	(void)p;
	(void)n;
	return where == f->where && (where != IN_CHUNK || offset == f->offset) ? -ETIMEDOUT : 0;
}

Test(image_damage, verify_and_open_pass_the_sources_failures_on)
{
	struct flip f = {.where = IN_CHUNK};
	struct source_memory s;
	struct sealed sealed;
	struct image *i = NULL;
	struct err e = {""};

	seal(&sealed, plain, SIZE, &(struct seal_options){.unnamed = true});
	source_memory_init(&s, &sealed);
	s.tamper = fail_where;
	s.arg = &f;
	cr_assert_eq(try_open(&i, &s, &e), -ETIMEDOUT);
	cr_assert_not_null(strstr(e.text, "root chunk"), "%s", e.text);
	f.offset = sealed.n_chunks - 1;
	i = must_open(&s);
	cr_assert_eq(image_verify(i, NULL, NULL, &e), -ETIMEDOUT);
	image_close(i);
	seal_free(&sealed);
}
