/* SPDX-License-Identifier: Apache-2.0
 * The root chunk's plaintext and map pages: both directions, and one breach of each condition [R1]…[R5],
 * [E1]…[E3], [A1], [O1] of FORMAT.md §6. */
#include "proto/format/root.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 64 blocks in two map pages. */
static const struct descriptor image = {
	.image_size = 64 * 4096,
	.n_chunks = 50,
	.max_chunk_size = 65536,
	.n_blobs = 2,
	.n_meta_chunks = 6,
};

enum { PAGE0, PAGE1, CONFIG0, CONFIG1, STARTUP, N_EXTENTS };

static void sample(struct root *r, struct extent x[static N_EXTENTS])
{
	*r = (struct root){
		.n_map_pages = 2,
		.n_config_chunks = 2,
		.n_startup_chunks = 1,
		.config_size = 70000,
		.startup_size = 8,
		.extents = x,
	};
	x[PAGE0] = (struct extent){.first_block = 0, .chunk = 1, .plain_size = 10 * EXTENT_SIZE};
	x[PAGE1] = (struct extent){.first_block = 30, .chunk = 2, .plain_size = 1 * EXTENT_SIZE};
	x[CONFIG0] = (struct extent){.chunk = 3, .plain_size = 65536};
	x[CONFIG1] = (struct extent){.chunk = 4, .plain_size = 70000 - 65536};
	x[STARTUP] = (struct extent){.chunk = 5, .plain_size = 8};
	for (unsigned i = 0; i < N_EXTENTS; i++)
		memset(x[i].key, (int)(0x10 + i), sizeof(x[i].key));
}

static void encode(struct buf *to, const struct root *r)
{
	buf_init_secret(to, 1 << 16);
	root_encode(r, to);
	cr_assert_not(buf_failed(to));
}

Test(root, decodes_what_it_encodes)
{
	struct extent x[N_EXTENTS];
	cleanup_buf struct buf raw, again;
	struct root r, got;
	struct err e;

	sample(&r, x);
	encode(&raw, &r);
	cr_assert_eq(raw.size, 40 + N_EXTENTS * EXTENT_SIZE);
	cr_assert_eq(root_decode(&got, raw.data, raw.size, &image, &e), 0, "%s", e.text);
	cr_assert_eq(got.n_map_pages, 2);
	cr_assert_eq(got.n_config_chunks, 2);
	cr_assert_eq(got.n_startup_chunks, 1);
	cr_assert_eq(got.config_size, 70000);
	cr_assert_eq(got.startup_size, 8);
	cr_assert_eq(got.extents[PAGE1].first_block, 30);
	cr_assert_eq(root_config(&got), got.extents + CONFIG0);
	cr_assert_eq(root_startup(&got), got.extents + STARTUP);
	cr_assert_eq(got.extents[STARTUP].key[31], 0x10 + STARTUP);
	encode(&again, &got);
	cr_assert_eq(again.size, raw.size);
	cr_assert_arr_eq(again.data, raw.data, raw.size);
	root_deinit(&got);
	cr_assert_null(got.extents);
	root_deinit(&got);
}

Test(root, lies_where_the_format_says)
{
	struct extent x[N_EXTENTS];
	cleanup_buf struct buf raw;
	const uint8_t *page1;
	struct root r;

	sample(&r, x);
	encode(&raw, &r);
	cr_assert_eq(memcmp(raw.data, "COCOONR1", 8), 0);
	cr_assert_eq(get_le32(raw.data + 8), 2);
	cr_assert_eq(get_le32(raw.data + 12), 2);
	cr_assert_eq(get_le32(raw.data + 16), 1);
	cr_assert_eq(get_le32(raw.data + 20), 0);
	cr_assert_eq(get_le64(raw.data + 24), 70000);
	cr_assert_eq(get_le64(raw.data + 32), 8);
	page1 = raw.data + 40 + PAGE1 * EXTENT_SIZE;
	cr_assert_eq(get_le32(page1), 30);
	cr_assert_eq(get_le32(page1 + 4), 2);
	cr_assert_eq(get_le32(page1 + 8), EXTENT_SIZE);
	cr_assert_eq(get_le32(page1 + 12), 0);
	cr_assert_eq(page1[16], 0x10 + PAGE1);
	cr_assert_eq(page1[47], 0x10 + PAGE1);
}

Test(root, without_startup_list_is_fine)
{
	struct extent x[N_EXTENTS];
	cleanup_buf struct buf raw;
	struct root r, got;
	struct err e;

	sample(&r, x);
	r.n_startup_chunks = 0;
	r.startup_size = 0;
	encode(&raw, &r);
	cr_assert_eq(root_decode(&got, raw.data, raw.size, &image, &e), 0, "%s", e.text);
	root_deinit(&got);
}

/* One value changed in the encoded bytes. */
struct breach {
	const char *rule, *what;
	size_t offset, size;
	uint64_t value;
};

static void check_breach(const struct breach *b)
{
	struct extent x[N_EXTENTS];
	cleanup_buf struct buf raw;
	struct root r, got = {.n_map_pages = 77};
	struct err e;

	sample(&r, x);
	encode(&raw, &r);
	if (b->size == 1)
		raw.data[b->offset] = (uint8_t)b->value;
	else if (b->size == 4)
		put_le32(raw.data + b->offset, (uint32_t)b->value);
	else
		put_le64(raw.data + b->offset, b->value);
	cr_assert_eq(root_decode(&got, raw.data, raw.size, &image, &e), -EUCLEAN, "%s", b->what);
	cr_assert_not_null(strstr(e.text, b->rule), "%s: %s", b->what, e.text);
	cr_assert_eq(got.n_map_pages, 77, "written although refused");
}

#define AT(extent, field) (40 + (size_t)(extent)*EXTENT_SIZE + (field))

Test(root, refuses_every_breach)
{
	static const struct breach breaches[] = {
		{"[R1]", "another magic", 7, 1, '2'},
		{"[R1]", "reserved bytes", 20, 4, 1},
		{"[R2]", "no map page", 8, 4, 0},
		{"[R3]", "no config chunk", 12, 4, 0},
		{"[R3]", "no config byte", 24, 8, 0},
		{"[R3]", "config of more than 16 MiB", 24, 8, (16u << 20) + 1},
		{"[R4]", "start-up list longer than chunks", 32, 8, 4 * 50 + 4},
		{"[R4]", "start-up list of 7 bytes", 32, 8, 7},
		{"[R4]", "start-up chunk without list", 32, 8, 0},
		{"[R4]", "start-up list without chunk", 16, 4, 0},
		{"[R5]", "one map page more", 8, 4, 3},
		{"[R5]", "counts whose sum passes 2^32", 8, 4, UINT32_MAX},
		{"[E1]", "extent of the root itself", AT(PAGE1, 4), 4, 0},
		{"[E1]", "chunk past the last", AT(PAGE1, 4), 4, 50},
		{"[E2]", "empty chunk", AT(CONFIG1, 8), 4, 0},
		{"[E2]", "chunk larger than any", AT(CONFIG1, 8), 4, 65537},
		{"[E3]", "reserved bytes of an extent", AT(STARTUP, 12), 4, 1},
		{"[A1]", "first page not at 0", AT(PAGE0, 0), 4, 1},
		{"[A1]", "pages do not ascend", AT(PAGE1, 0), 4, 0},
		{"[A1]", "page past the image", AT(PAGE1, 0), 4, 64},
		{"[A1]", "page of half an extent", AT(PAGE0, 8), 4, EXTENT_SIZE / 2},
		{"[O1]", "config chunks hold less", 24, 8, 70001},
		{"[O1]", "config chunks hold more", 24, 8, 69999},
		{"[O1]", "config chunk with an address", AT(CONFIG0, 0), 4, 1},
		{"[O1]", "start-up chunk holds more", AT(STARTUP, 8), 4, 12},
		{"[O1]", "start-up chunk with an address", AT(STARTUP, 0), 4, 1},
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++)
		check_breach(&breaches[i]);
}

Test(root, refuses_every_truncation_and_what_stands_behind)
{
	struct extent x[N_EXTENTS];
	cleanup_buf struct buf raw;
	struct root r, got;
	struct err e;

	sample(&r, x);
	encode(&raw, &r);
	for (size_t n = 0; n < raw.size; n++)
		cr_assert_eq(root_decode(&got, raw.data, n, &image, &e), -EUCLEAN, "%zu bytes", n);
	buf_u8(&raw, 0);
	cr_assert_eq(root_decode(&got, raw.data, raw.size, &image, &e), -EUCLEAN);
	cr_assert_not_null(strstr(e.text, "[R5]"));
}

/* Blocks 30 … 63 in three extents. */
static void sample_page(struct buf *to)
{
	const struct extent x[] = {
		{.first_block = 30, .chunk = 7, .plain_size = 65536},
		{.first_block = 46, .chunk = 8, .plain_size = 65536},
		{.first_block = 62, .chunk = 7, .plain_size = 8192},
	};

	buf_init_secret(to, 4096);
	for (size_t i = 0; i < 3; i++)
		extent_encode(&x[i], to);
}

Test(map_page, decodes_what_it_encodes)
{
	cleanup_buf struct buf raw, again;
	struct extent *x;
	struct err e;
	size_t n;

	sample_page(&raw);
	cr_assert_eq(map_page_decode(&x, &n, raw.data, raw.size, 30, 64, &image, &e), 0, "%s", e.text);
	cr_assert_eq(n, 3);
	cr_assert_eq(x[2].first_block, 62);
	cr_assert_eq(x[2].chunk, 7, "two extents may name the same chunk");
	buf_init_secret(&again, 4096);
	for (size_t i = 0; i < n; i++)
		extent_encode(&x[i], &again);
	cr_assert_arr_eq(again.data, raw.data, raw.size);
	free(x);
}

Test(map_page, refuses_every_breach)
{
	static const struct breach breaches[] = {
		{"[A1]", "starts elsewhere", 0, 4, 29},
		{"[A1]", "gap", EXTENT_SIZE, 4, 47},
		{"[A1]", "overlap", EXTENT_SIZE, 4, 45},
		{"[A1]", "half a block", EXTENT_SIZE + 8, 4, 65535},
		{"[A1]", "ends early", 2 * EXTENT_SIZE + 8, 4, 4096},
		{"[A1]", "ends late", 2 * EXTENT_SIZE + 8, 4, 12288},
		{"[E1]", "the root", 4, 4, 0},
		{"[E1]", "chunk past the last", 4, 4, 50},
		{"[E2]", "empty", 8, 4, 0},
		{"[E2]", "larger than any", 8, 4, 65536 + 4096},
		{"[E3]", "reserved bytes", 12, 4, 1u << 31},
	};

	for (size_t i = 0; i < sizeof(breaches) / sizeof(breaches[0]); i++) {
		cleanup_buf struct buf raw;
		struct extent *x = NULL;
		struct err e;
		size_t n;

		sample_page(&raw);
		put_le32(raw.data + breaches[i].offset, (uint32_t)breaches[i].value);
		cr_assert_eq(map_page_decode(&x, &n, raw.data, raw.size, 30, 64, &image, &e), -EUCLEAN, "%s",
			     breaches[i].what);
		cr_assert_not_null(strstr(e.text, breaches[i].rule), "%s: %s", breaches[i].what, e.text);
		cr_assert_null(x);
	}
}

Test(map_page, refuses_sizes_that_are_no_extents)
{
	cleanup_buf struct buf raw;
	struct extent *x;
	struct err e;
	size_t n;

	sample_page(&raw);
	for (size_t size = 0; size < raw.size; size++) {
		cr_assert_eq(map_page_decode(&x, &n, raw.data, size, 30, 64, &image, &e), -EUCLEAN, "%zu",
			     size);
		cr_assert_not_null(strstr(e.text, "[A1]"));
	}
}

Test(map_page, refuses_more_than_a_chunk_may_hold)
{
	static uint8_t raw[MAX_CHUNK_SIZE + EXTENT_SIZE];
	struct extent *x = NULL;
	size_t size = MAX_CHUNK_SIZE / EXTENT_SIZE * EXTENT_SIZE + EXTENT_SIZE, n;
	struct err e = {""};

	cr_assert_eq(map_page_decode(&x, &n, raw, size, 30, 64, &image, &e), -EUCLEAN);
	cr_assert_not_null(strstr(e.text, "[A1]"), "%s", e.text);
	cr_assert_null(x);
}

Test(map_page, last_blocks_of_the_largest_image)
{
	static const struct descriptor largest = {
		.image_size = (1ull << 44) - 4096, .n_chunks = 9, .max_chunk_size = 1 << 20};
	const struct extent last = {.first_block = UINT32_MAX - 1, .chunk = 1, .plain_size = 4096};
	const struct extent past = {.first_block = UINT32_MAX - 1, .chunk = 1, .plain_size = 1 << 20};
	cleanup_buf struct buf raw;
	struct extent *x;
	struct err e;
	size_t n;

	buf_init(&raw, 1024);
	extent_encode(&last, &raw);
	cr_assert_eq(map_page_decode(&x, &n, raw.data, raw.size, UINT32_MAX - 1, UINT32_MAX, &largest, &e), 0,
		     "%s", e.text);
	free(x);
	buf_deinit(&raw);
	extent_encode(&past, &raw); /* its end wraps in 32 bits */
	cr_assert_eq(map_page_decode(&x, &n, raw.data, raw.size, UINT32_MAX - 1, UINT32_MAX, &largest, &e),
		     -EUCLEAN);
}
