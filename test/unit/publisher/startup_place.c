/* SPDX-License-Identifier: Apache-2.0
 * A layer of files, a list, and where each block of the files lies afterwards: its content is the same. */
#include "publisher/startup_place.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"
#include "publisher/layer_plain.h"
#include "publisher/startup_list.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE 300u /* blocks */

static struct seal_pool *pool;
static struct secret prk;
static struct cutter cutter;
static struct tree *t;
static struct sealed_layer layers[2];
static int blobs[2];
static struct err e;

static void block_of(uint8_t to[BLOCK_SIZE], unsigned file, unsigned block)
{
	for (size_t i = 0; i < BLOCK_SIZE; i++)
		to[i] = (uint8_t)(file * 7 + block * 31 + i / 16);
}

static struct layer_sink *sink_of(size_t layer)
{
	struct layer_sink *sink;

	blobs[layer] = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	cr_assert(blobs[layer] >= 0);
	cr_assert_eq(layer_sink_open(&sink, blobs[layer], pool, &prk, &cutter, &e), 0);
	return sink;
}

static struct node *put(const char *path, mode_t mode)
{
	struct node_attr attr = {.mode = (uint16_t)mode, .target = S_ISLNK(mode) ? "large" : NULL};
	struct node *n;

	cr_assert_eq(tree_put(t, 1, path, &attr, &n, &e), 0, "%s", e.text);
	return n;
}

static struct node *put_file(struct layer_sink *sink, const char *path, unsigned file, unsigned blocks)
{
	struct node *n = put(path, S_IFREG | 0644);
	uint8_t block[BLOCK_SIZE];
	uint64_t first;

	n->size = (uint64_t)blocks * BLOCK_SIZE - 100;
	n->layer = 1;
	cr_assert_eq(layer_sink_begin(sink, (uint64_t)blocks * BLOCK_SIZE, &first, &e), 0);
	n->start = (uint32_t)first;
	for (unsigned i = 0; i < blocks; i++) {
		block_of(block, file, i);
		cr_assert_eq(layer_sink_write(sink, block, sizeof(block), &e), 0);
	}
	cr_assert_eq(layer_sink_end(sink, &e), 0);
	return n;
}

static struct node *large, *small, *other;

static void setup(void)
{
	struct layer_sink *sink;

	cr_assert_eq(secret_random(&prk), 0);
	cr_assert_eq(cutter_init(&cutter, &prk), 0);
	cr_assert_eq(seal_pool_new(&pool, 2, &(struct seal_options){1, PADDING_NONE}, &e), 0);
	cr_assert_eq(tree_new(&t), 0);
	sink = sink_of(1);
	other = put_file(sink, "other", 1, 5);
	large = put_file(sink, "dir/large", 2, LARGE);
	small = put_file(sink, "dir/small", 3, 2);
	(void)put("dir/link", S_IFLNK | 0777);
	cr_assert_eq(layer_sink_finish(sink, &layers[1], &e), 0);
	layer_sink_close(sink);
}

static void teardown(void)
{
	for (size_t i = 0; i < 2; i++) {
		sealed_layer_deinit(&layers[i]);
		(void)close(blobs[i]);
	}
	tree_free(t);
	seal_pool_free(pool);
}

TestSuite(startup_place, .init = setup, .fini = teardown);

static int place(const char *list)
{
	struct layer_sink *sink = sink_of(STARTUP_LAYER);
	struct startup_place p = {.tree = t, .layers = layers, .blobs = blobs, .sink = sink};
	int r = startup_place(&p, list, strlen(list), &e);

	if (r == 0)
		cr_assert_eq(layer_sink_finish(sink, &layers[STARTUP_LAYER], &e), 0);
	layer_sink_close(sink);
	return r;
}

/* Where block `block` of the file lies. */
static struct sparse_run where(const struct node *n, uint32_t block)
{
	struct sparse_run run = {.layer = n->layer, .start = n->start + block};

	for (uint32_t i = 0; n->sparse && i < n->sparse->n_runs; i++) {
		const struct sparse_run *x = &n->sparse->runs[i];

		if (block >= x->block && block < x->block + x->count)
			run = (struct sparse_run){.layer = x->layer, .start = x->start + (block - x->block)};
	}
	return run;
}

static void expect_content(const struct node *n, unsigned file, uint32_t blocks)
{
	struct layer_plain *plain[2];
	uint8_t want[BLOCK_SIZE];

	for (size_t i = 0; i < 2; i++)
		cr_assert_eq(layer_plain_open(&plain[i], &layers[i], blobs[i], &e), 0);
	for (uint32_t i = 0; i < blocks; i++) {
		struct sparse_run at = where(n, i);
		int error;
		const uint8_t *got = layer_plain_block(plain[at.layer], at.start, &error, &e);

		cr_assert_not_null(got, "block %u: %s", i, e.text);
		block_of(want, file, i);
		cr_assert_arr_eq(got, want, BLOCK_SIZE, "block %u", i);
	}
	for (size_t i = 0; i < 2; i++)
		layer_plain_close(plain[i]);
}

Test(startup_place, moves_what_is_named_in_the_order_of_need)
{
	/* parts of one file, through a symlink too; all of another; what is looked up only */
	cr_assert_eq(place("/dir/link\t40960\t8192\n"
			   "/dir/small\n"
			   "/other\t0\t0\n"
			   "/nowhere\n"
			   "/dir/large\t0\t1\n"
			   "\n"
			   "/dir/large\t0\t20480\n"),
		     0, "%s", e.text);
	cr_expect_eq(where(large, 0).layer, STARTUP_LAYER);
	cr_expect_eq(where(large, 0).start, 0, "a file's blocks stay together within a part");
	cr_expect_eq(where(large, 10).start, 1);
	cr_expect_eq(where(large, 11).start, 2);
	cr_expect_eq(small->layer, STARTUP_LAYER);
	cr_expect_eq(small->start, 3);
	cr_expect_null(small->sparse, "in one piece");
	cr_expect_eq(where(large, 1).start, 5, "the next part, without what was there already");
	cr_expect_eq(where(large, 4).start, 8);
	cr_expect_eq(where(large, 5).layer, 1);
	cr_expect_eq(where(large, 12).layer, 1);
	cr_expect_eq(other->layer, 1);
	cr_expect_null(other->sparse);
	cr_expect_eq(layers[STARTUP_LAYER].n_blocks, 9);
	expect_content(large, 2, LARGE);
	expect_content(small, 3, 2);
	expect_content(other, 1, 5);
}

Test(startup_place, takes_larger_units_of_very_large_files)
{
	struct node *n = put("huge", S_IFREG | 0644);

	n->size =
		(uint64_t)(1 << 16) * BLOCK_SIZE + 1; /* units of 4 blocks; most of it does not exist here */
	n->layer = 1;
	n->start = large->start;
	cr_assert_eq(place("/huge\t20480\t16384\n"), 0, "%s", e.text);
	cr_expect_eq(n->sparse->chunk_log2, 2);
	cr_expect_eq(layers[STARTUP_LAYER].n_blocks, 8);
	cr_expect_eq(where(n, 3).layer, 1);
	cr_expect_eq(where(n, 4).layer, STARTUP_LAYER);
	cr_expect_eq(where(n, 7).start, 3);
	cr_expect_eq(where(n, 8).start, 4);
	cr_expect_eq(where(n, 11).layer, STARTUP_LAYER);
	cr_expect_eq(where(n, 11).start, 7);
	cr_expect_eq(where(n, 12).layer, 1);
}

Test(startup_place, leaves_files_with_holes_where_they_are)
{
	struct sparse_map *m = calloc(1, sizeof(*m) + sizeof(m->runs[0]));

	cr_assert_not_null(m);
	m->n_runs = 1;
	m->runs[0] = (struct sparse_run){.block = 1, .count = 1, .start = other->start, .layer = 1};
	other->sparse = m;
	cr_assert_eq(place("/other\n"), 0);
	cr_expect_not(startup_place_moves(other));
	cr_expect_eq(other->sparse, m);
	cr_expect_eq(layers[STARTUP_LAYER].n_blocks, 0);
}

Test(startup_place, reads_ranges_and_refuses_what_is_none)
{
	static const struct {
		const char *text;
		int result;
		size_t length;
		uint64_t first, end;
	} cases[] = {
		{"/a/b\n", STARTUP_LINE, 4, 0, UINT64_MAX},
		{"/a/b", STARTUP_LINE, 4, 0, UINT64_MAX},
		{"\n/a", STARTUP_LINE, 0, 0, UINT64_MAX},
		{"/a\t0\t0\n", STARTUP_LINE, 2, 0, 0},
		{"/a\t4095\t2\n", STARTUP_LINE, 2, 0, 2},
		{"/a\t4096\t4096", STARTUP_LINE, 2, 1, 2},
		{"", STARTUP_END, 0, 0, 0},
		{"/a\t\n", -EINVAL, 0, 0, 0},
		{"/a\t1\n", -EINVAL, 0, 0, 0},
		{"/a\t1\t\n", -EINVAL, 0, 0, 0},
		{"/a\t1\t2\t3\n", -EINVAL, 0, 0, 0},
		{"/a\t-1\t2\n", -EINVAL, 0, 0, 0},
		{"/a\t 1\t2\n", -EINVAL, 0, 0, 0},
		{"\t1\t2\n", -EINVAL, 0, 0, 0},
		{"/a\t0\t18446744073709551616\n", -EINVAL, 0, 0, 0},
		{"/a\t18446744073709551615\t1\n", -EINVAL, 0, 0, 0},
		{"/a\t0\t17592186044417\n", -EINVAL, 0, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *text = cases[i].text;
		size_t size = strlen(text);
		struct startup_line line;

		cr_assert_eq(startup_line_next(&text, &size, &line, &e), cases[i].result, "case %zu", i);
		if (cases[i].result != STARTUP_LINE)
			continue;
		cr_expect_eq(line.length, cases[i].length, "case %zu", i);
		cr_expect_eq(line.first, cases[i].first, "case %zu", i);
		cr_expect_eq(line.end, cases[i].end, "case %zu", i);
	}
	cr_expect_eq(place("/dir/large\tx\ty\n"), -EINVAL);
	cr_expect(strstr(e.text, "/dir/large"));
}

Test(startup_place, tells_when_a_blob_cannot_be_read_back)
{
	uint8_t byte = 0;

	cr_assert_eq(pwrite(blobs[1], &byte, 1, 100), 1);
	cr_assert_eq(pwrite(blobs[1], "x", 1, 101), 1);
	cr_expect_eq(place("/other\n"), -EBADMSG, "%s", e.text);
}
