/* SPDX-License-Identifier: Apache-2.0
 * Layers into a tree and a sink: digests, contents, sparse files, attributes, refusals. */
#include "publisher/layer_reader.h"

#include "publisher/erofs_format.h"
#include "publisher/layer_data.h"
#include "test/unit/publisher/layer_fixture.h"

#include <criterion/criterion.h>

static struct tree *t;
static struct err e;
static struct layer_stats stats;

static void setup(void)
{
	cr_assert_eq(tree_new(&t), 0);
}

static void teardown(void)
{
	tree_free(t);
}

TestSuite(layer_reader, .init = setup, .fini = teardown);

static const uint8_t *content_at(const struct layer_sink *s, const struct node *n)
{
	return s->data.data + (size_t)n->start * BLOCK_SIZE;
}

/* One entry with a link and a file in each layer's tar. */
static void small_tar(struct tar_out *tar)
{
	TAR_ADD(tar, .name = "dir/", .type = '5', .mode = 0711, .uid = 5, .mtime = 1234);
	TAR_ADD(tar, .name = "dir/file", .data = "content", .size = 7, .mode = 04755, .gid = 4294967);
	TAR_ADD(tar, .name = "link", .type = '1', .link = "dir/file");
	TAR_ADD(tar, .name = "sym", .type = '2', .link = "dir/file");
	TAR_ADD(tar, .name = "fifo", .type = '6');
	TAR_ADD(tar, .name = "blk", .type = '4', .major = 259, .minor = 70000);
}

Test(layer_reader, makes_inodes_of_entries)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;
	struct node *n;

	small_tar(&tar);
	layer_of(t, 0, &tar, &sink);
	n = at(t, "dir");
	cr_assert_eq(n->mode, S_IFDIR | 0711);
	cr_assert_eq(n->uid, 5);
	cr_assert_eq(n->mtime, 1234);
	n = at(t, "dir/file");
	cr_assert_eq(n->mode, S_IFREG | 04755);
	cr_assert_eq(n->gid, 4294967);
	cr_assert_eq(n->nlink, 2);
	cr_assert_eq(n->size, 7);
	cr_assert_arr_eq(content_at(&sink, n), "content\0", 8);
	cr_assert_eq(at(t, "link"), n);
	cr_assert_str_eq(at(t, "sym")->target, "dir/file");
	cr_assert_eq(at(t, "sym")->size, 8);
	cr_assert_eq(at(t, "fifo")->mode, S_IFIFO | 0644);
	cr_assert_eq(at(t, "blk")->rdev, (70000 & 0xff) | 259 << 8 | (70000 & ~0xff) << 12);
	buf_deinit(&sink.data);
}

/* `tar` compressed, as one blob. */
static void stored_as(struct buf *out, const char *type, const struct buf *tar)
{
	cr_assert_lt(tar->size, 1 << 20);
	buf_init(out, 2 << 20);
	if (strstr(type, "zstd")) {
		static uint8_t space[2 << 20];
		size_t n = ZSTD_compress(space, sizeof(space), tar->data, tar->size, 3);

		cr_assert_not(ZSTD_isError(n));
		buf_put(out, space, n);
	} else if (strstr(type, "gzip")) {
		static uint8_t space[2 << 20];
		z_stream z = {.next_in = tar->data,
			      .avail_in = (uInt)tar->size,
			      .next_out = space,
			      .avail_out = sizeof(space)};

		cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
		cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
		buf_put(out, space, z.total_out);
		cr_assert_eq(deflateEnd(&z), Z_OK);
	} else {
		buf_put(out, tar->data, tar->size);
	}
}

Test(layer_reader, reads_the_media_types_of_layers)
{
	static const char *const types[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct tar_out tar = TAR_OUT;
		struct layer_sink sink = SINK;
		struct layer_source source;
		struct buf stored;
		struct memory m;

		cr_assert_eq(layer_media_type_check(types[i], &e), 0);
		small_tar(&tar);
		tar_end(&tar);
		stored_as(&stored, types[i], &tar.b);
		source = source_of(&m, types[i], &stored, &tar.b);
		m.piece = 10;
		cr_assert_eq(layer_apply(t, (unsigned)i, &source, &sink, &stats, &e), 0, "%s: %s", types[i],
			     e.text);
		cr_assert_eq(stats.entries, 6);
		cr_assert_eq(stats.tar_bytes, tar.b.size);
		cr_assert_eq(sink.data.size, BLOCK_SIZE);
		buf_deinit(&stored);
		buf_deinit(&tar.b);
		buf_deinit(&sink.data);
	}
}

Test(layer_reader, refuses_other_media_types)
{
	static const char *const bad[] = {
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
		"application/vnd.oci.image.layer.v1.tar+bzip2",
		"application/vnd.oci.image.config.v1+json",
		"",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(layer_media_type_check(bad[i], &e), -ENOTSUP, "%s", bad[i]);
}

/* The small tar as gzip, with something wrong. */
static int apply_wrong(int digest, int size, int diff_id, size_t flip, int source_fails)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;
	struct layer_source source;
	struct tree *tree;
	struct buf stored;
	struct memory m;
	int r;

	small_tar(&tar);
	tar_end(&tar);
	stored_as(&stored, "gzip", &tar.b);
	source = source_of(&m, "application/vnd.oci.image.layer.v1.tar+gzip", &stored, &tar.b);
	source.digest.bytes[0] ^= (uint8_t)digest;
	source.diff_id.bytes[0] ^= (uint8_t)diff_id;
	source.size += (uint64_t)size;
	m.fail = source_fails;
	if (flip)
		stored.data[flip % stored.size] ^= 1;
	cr_assert_eq(tree_new(&tree), 0);
	r = layer_apply(tree, 0, &source, &sink, &stats, &e);
	tree_free(tree);
	buf_deinit(&stored);
	buf_deinit(&tar.b);
	buf_deinit(&sink.data);
	return r;
}

Test(layer_reader, holds_size_and_digests_against_what_was_promised)
{
	cr_assert_eq(apply_wrong(0, 0, 0, 0, 0), 0);
	cr_assert_eq(apply_wrong(1, 0, 0, 0, 0), -EBADMSG);
	cr_assert(strstr(e.text, "the layer's digest is sha256:"));
	cr_assert_eq(apply_wrong(0, 0, 1, 0, 0), -EBADMSG);
	cr_assert(strstr(e.text, "diff ID"));
	cr_assert_eq(apply_wrong(0, 1, 0, 0, 0), -EBADMSG);
	cr_assert(strstr(e.text, "ends after"));
	cr_assert_eq(apply_wrong(0, -1, 0, 0, 0), -EBADMSG);
	cr_assert(strstr(e.text, "longer than"));
	cr_assert_eq(apply_wrong(0, 0, 0, 0, -ETIMEDOUT), -ETIMEDOUT);
	cr_assert_str_eq(e.text, "the source failed");
}

Test(layer_reader, tells_bad_delivery_from_a_bad_layer)
{
	/* Wherever the flipped bit is, what is wrong is the delivery. */
	for (size_t at_byte = 1; at_byte < 300; at_byte += 13)
		cr_assert_eq(apply_wrong(0, 0, 0, at_byte, 0), -EBADMSG, "byte %zu: %s", at_byte, e.text);
}

Test(layer_reader, refuses_too_many_layers)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	cr_assert_eq(apply_tar(t, MAX_BLOBS - 1, &tar, &sink, NULL, &e), -ENOTSUP);
	buf_deinit(&tar.b);
}

Test(layer_reader, passes_on_what_the_sink_says)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	sink.fail_at = 1;
	small_tar(&tar);
	cr_assert_eq(apply_tar(t, 0, &tar, &sink, NULL, &e), -ENOSPC);
	cr_assert_str_eq(e.text, "dir/file: the sink is full");
	buf_deinit(&tar.b);
}

static void content(struct tar_out *tar, const char *name, char fill, size_t size)
{
	static uint8_t data[2 << 20];

	memset(data, fill, size);
	TAR_ADD(tar, .name = name, .data = data, .size = size);
}

Test(layer_reader, stores_a_content_once_in_a_layer)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	content(&tar, "a", 'x', 5000);
	content(&tar, "b", 'y', 5000);
	content(&tar, "c", 'x', 5000);
	content(&tar, "d", 'x', 5001);
	content(&tar, "empty", 0, 0);
	layer_of(t, 0, &tar, &sink);
	cr_assert_eq(sink.runs, 3);
	cr_assert_eq(at(t, "c")->start, at(t, "a")->start);
	cr_assert_neq(at(t, "c"), at(t, "a"), "equal bytes, two inodes");
	cr_assert_neq(at(t, "d")->start, at(t, "a")->start);
	cr_assert_eq(content_at(&sink, at(t, "b"))[4999], 'y');
	buf_deinit(&sink.data);
}

Test(layer_reader, points_at_the_lowest_layer_and_still_writes_its_own)
{
	struct tar_out tars[3] = {TAR_OUT, TAR_OUT, TAR_OUT};
	struct layer_sink sinks[3] = {SINK, SINK, SINK}, alone = SINK;
	struct tar_out again = TAR_OUT;
	struct tree *other;

	content(&tars[0], "base", 'b', 100);
	content(&tars[0], "a", 'x', 9000);
	content(&tars[1], "b", 'x', 9000);
	content(&tars[1], "c", 'x', 9000);
	content(&tars[1], "new", 'n', 10);
	content(&tars[2], "d", 'x', 9000);
	content(&again, "b", 'x', 9000);
	content(&again, "c", 'x', 9000);
	content(&again, "new", 'n', 10);
	for (unsigned i = 0; i < 3; i++)
		layer_of(t, i, &tars[i], &sinks[i]);
	cr_assert_eq(sinks[1].runs, 2, "once, though it is below and twice here");
	cr_assert_eq(sinks[2].runs, 1);
	for (const char *const *name = (const char *const[]){"a", "b", "c", "d", NULL}; *name; name++) {
		cr_assert_eq(at(t, *name)->layer, 0, "%s", *name);
		cr_assert_eq(at(t, *name)->start, 1, "%s", *name);
	}
	cr_assert_eq(at(t, "new")->layer, 1);
	cr_assert_eq(at(t, "new")->start, 3);
	/* The sink of a layer sees the same whatever is below. */
	cr_assert_eq(tree_new(&other), 0);
	layer_of(other, 0, &again, &alone);
	cr_assert_eq(alone.data.size, sinks[1].data.size);
	cr_assert_arr_eq(alone.data.data, sinks[1].data.data, alone.data.size);
	tree_free(other);
	for (unsigned i = 0; i < 3; i++)
		buf_deinit(&sinks[i].data);
	buf_deinit(&alone.data);
}

Test(layer_reader, passes_large_files_through)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	content(&tar, "a", 'l', LAYER_WHOLE_FILE + 1);
	content(&tar, "b", 'l', LAYER_WHOLE_FILE + 1);
	content(&tar, "c", 'l', LAYER_WHOLE_FILE);
	layer_of(t, 0, &tar, &sink);
	cr_assert_eq(sink.runs, 3);
	cr_assert_eq(sink.largest, LAYER_WHOLE_FILE + 1);
	cr_assert_eq(content_at(&sink, at(t, "b"))[LAYER_WHOLE_FILE], 'l');
	buf_deinit(&sink.data);
}

/* A sparse file in form 0.1; `map` is its extents, `stored` their bytes. */
static void sparse(struct tar_out *tar, const char *name, const char *size, const char *map, size_t stored)
{
	static uint8_t data[1 << 20];
	struct buf pax = {.max = 1 << 20};

	for (size_t i = 0; i < stored; i++)
		data[i] = (uint8_t)(1 + i % 255);
	pax_text(&pax, "GNU.sparse.size", size);
	pax_text(&pax, "GNU.sparse.map", map);
	TAR_ADD(tar, .name = name, .data = data, .size = stored, PAX_OF(pax));
	buf_deinit(&pax);
}

Test(layer_reader, lets_holes_be_holes)
{
	static const struct {
		const char *size, *map;
		size_t stored;
		uint32_t chunk_log2, n_runs;
		struct sparse_run runs[4];
		uint64_t blocks;
	} cases[] = {
		/* all hole; one chunk as large as the file */
		{"1048576", "1048576,0", 0, 8, 0, {{0, 0, 0, 0}}, 0},
		{"1048577", "1048577,0", 0, 9, 0, {{0, 0, 0, 0}}, 0},
		/* a block at the start, in the middle, at the end */
		{"1048576", "0,4096", 4096, 0, 1, {{0, 1, 0, 0}}, 1},
		{"1048576", "524288,524288", 524288, 7, 1, {{128, 128, 0, 0}}, 128},
		{"1048576", "65536,65536", 65536, 4, 1, {{16, 16, 0, 0}}, 16},
		{"1000000", "999424,576", 576, 2, 1, {{244, 1, 0, 0}}, 1},
		/* not at blocks: what is around the bytes is stored as zeroes */
		{"100000", "5000,10,20000,10", 20, 0, 2, {{1, 1, 0, 0}, {4, 1, 1, 0}}, 2},
		/* extents in one block, or touching, are one run */
		{"100000", "4096,100,5000,100,8192,100", 300, 0, 1, {{1, 2, 0, 0}}, 2},
		{"32768", "0,8192,16384,8192", 16384, 1, 2, {{0, 2, 0, 0}, {4, 2, 2, 0}}, 4},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out tar = TAR_OUT;
		struct layer_sink sink = SINK;
		const struct sparse_map *m;

		sparse(&tar, "f", cases[i].size, cases[i].map, cases[i].stored);
		layer_of(t, 0, &tar, &sink);
		m = at(t, "f")->sparse;
		cr_assert_not_null(m, "case %zu", i);
		cr_assert_eq(m->chunk_log2, cases[i].chunk_log2, "case %zu: %u", i, m->chunk_log2);
		cr_assert_eq(m->n_runs, cases[i].n_runs, "case %zu: %u", i, m->n_runs);
		cr_assert_arr_eq(m->runs, cases[i].runs, m->n_runs * sizeof(m->runs[0]), "case %zu", i);
		cr_assert_eq(sink_blocks(&sink), cases[i].blocks, "case %zu", i);
		buf_deinit(&sink.data);
	}
}

Test(layer_reader, puts_zeroes_around_bytes_that_do_not_fill_blocks)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;
	uint8_t want[2 * BLOCK_SIZE] = {0};

	sparse(&tar, "f", "100000", "4100,3,5000,2,9000,1", 6);
	layer_of(t, 0, &tar, &sink);
	memcpy(want + 4, "\1\2\3", 3);
	memcpy(want + 5000 - 4096, "\4\5", 2);
	want[9000 - 4096] = 6;
	cr_assert_eq(sink.data.size, sizeof(want));
	cr_assert_arr_eq(sink.data.data, want, sizeof(want));
	buf_deinit(&sink.data);
}

Test(layer_reader, stores_a_sparse_file_without_holes_like_any_other)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	sparse(&tar, "f", "10000", "0,5000,5000,5000", 10000);
	sparse(&tar, "g", "10000", "1,1,5000,1,9999,1", 3);
	layer_of(t, 0, &tar, &sink);
	cr_assert_null(at(t, "f")->sparse);
	cr_assert_null(at(t, "g")->sparse, "every block has a byte");
	cr_assert_eq(at(t, "g")->start, 3);
	cr_assert_eq(sink.data.data[3 * BLOCK_SIZE + 9999], 3);
	buf_deinit(&sink.data);
}

Test(layer_reader, grows_chunks_when_there_would_be_too_many)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = {.counting = true};
	const struct sparse_map *m;

	/* 64 GiB, a block at 4096 and one near the end: chunks of 16 KiB. */
	sparse(&tar, "f", "68719476736", "4096,4096,68719464448,4096", 8192);
	layer_of(t, 0, &tar, &sink);
	m = at(t, "f")->sparse;
	cr_assert_eq(m->chunk_log2, 2);
	cr_assert_eq(m->n_runs, 2);
	cr_assert_eq(m->runs[0].block, 0);
	cr_assert_eq(m->runs[0].count, 4);
	cr_assert_eq(m->runs[1].block, 16777212);
	cr_assert_eq(m->runs[1].count, 4);
	cr_assert_eq(sink_blocks(&sink), 8);
}

Test(layer_reader, refuses_files_that_no_image_can_hold)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;

	sparse(&tar, "f", "17592186044416", "17592186044416,0", 0);
	cr_assert_eq(apply_tar(t, 0, &tar, &sink, NULL, &e), -ENOTSUP);
	cr_assert(strstr(e.text, "f: a file of 17592186044416 bytes"));
	buf_deinit(&tar.b);
}

Test(layer_reader, keeps_etc_passwd)
{
	struct tar_out tars[2] = {TAR_OUT, TAR_OUT};
	struct layer_sink sink = SINK;
	const void *data;
	size_t size;

	TAR_ADD(&tars[0], .name = "etc/passwd", .data = "old", .size = 3);
	TAR_ADD(&tars[0], .name = "etc/group", .data = "", .size = 0);
	TAR_ADD(&tars[1], .name = "etc/passwd", .data = "new:", .size = 4);
	layer_of(t, 0, &tars[0], &sink);
	layer_of(t, 1, &tars[1], &sink);
	cr_assert_eq(tree_content(t, "etc/passwd", &data, &size), 0);
	cr_assert_eq(size, 4);
	cr_assert_arr_eq(data, "new:", 4);
	cr_assert_eq(tree_content(t, "etc/group", &data, &size), 0);
	cr_assert_eq(size, 0);
	buf_deinit(&sink.data);
}

/* The attributes that one file gets from these records, and what the entry was. */
static int with_records(struct buf *pax, char type, const struct xattr_set **out)
{
	struct tar_out tar = TAR_OUT;
	struct layer_sink sink = SINK;
	int r;

	TAR_ADD(&tar, .name = "f", .type = type, .link = "x", PAX_OF(*pax));
	r = apply_tar(t, 0, &tar, &sink, &stats, &e);
	*out = r == 0 ? at(t, "f")->xattrs : NULL;
	buf_deinit(&tar.b);
	buf_deinit(pax);
	return r;
}

Test(layer_reader, encodes_attributes_sorted_and_padded)
{
	static const uint8_t want[] = {1,   1,	 0,   0,   'a', 0,   0,	  0, /* user.a, empty */
				       1,   1,	 3,   0,   'b', 0,   1,	  2, /* user.b */
				       2,   4,	 1,   0,   't', 't', 'v', 0, /* trusted.tt */
				       10,  6,	 2,   0,   'c', 'a', 'p', 'a',
				       'b', 'i', 'l', 'i', 't', 'y', 'x', 'y'};
	struct buf pax = {.max = 4096};
	const struct xattr_set *set;

	pax_text(&pax, "SCHILY.xattr.trusted.tt", "v");
	pax_bytes(&pax, "SCHILY.xattr.user.b", "\0\1\2", 3);
	pax_text(&pax, "SCHILY.xattr.user.a", "first");
	pax_text(&pax, "SCHILY.xattr.user.a", "");
	pax_text(&pax, "SCHILY.xattr.security.capability", "xy");
	pax_text(&pax, "LIBARCHIVE.xattr.user.b", "c2Vjb25k");
	cr_assert_eq(with_records(&pax, 0, &set), 0, "%s", e.text);
	cr_assert_eq(set->size, sizeof(want));
	cr_assert_arr_eq(set->entries, want, sizeof(want));
}

Test(layer_reader, takes_attributes_in_libarchives_words)
{
	static const uint8_t want[] = {3, 1, 5, 0, 'a', '=', 'b', 'h', 'e', 'l', 'l', 'o'};
	struct buf pax = {.max = 4096};
	const struct xattr_set *set;

	pax_text(&pax, "LIBARCHIVE.xattr.user.a%3Db", "aGVsbG8");
	cr_assert_eq(with_records(&pax, 0, &set), 0);
	cr_assert_eq(set->size, sizeof(want));
	cr_assert_arr_eq(set->entries, want, sizeof(want));
}

Test(layer_reader, takes_acls_in_words)
{
	struct buf pax = {.max = 4096};
	const struct xattr_set *set;

	pax_text(&pax, "SCHILY.acl.access", "user::rw-,user:7:r--,group::r--,mask::r--,other::---");
	cr_assert_eq(with_records(&pax, 0, &set), 0);
	cr_assert_eq(set->size, 4 + 4 + 5 * 8);
	cr_assert_eq(set->entries[1], EROFS_INDEX_ACL_ACCESS);
	cr_assert_eq(set->entries[0], 0, "no name behind the index");
	cr_assert_eq(at(t, "f")->mode, S_IFREG | 0640, "with the mask, whatever the header said");
}

Test(layer_reader, drops_what_would_mean_something_else_or_nothing)
{
	static const char *const overlay[] = {"trusted.overlay.opaque", "user.overlay.origin"};
	static const char *const other[] = {"system.nfs4_acl", "com.apple.quarantine", "user.", "security.",
					    "system.posix_acl_access2"};
	char key[100];

	for (size_t i = 0; i < 7; i++) {
		struct buf pax = {.max = 4096};
		const struct xattr_set *set;

		(void)snprintf(key, sizeof(key), "SCHILY.xattr.%s", i < 2 ? overlay[i] : other[i - 2]);
		pax_text(&pax, key, "v");
		cr_assert_eq(with_records(&pax, 0, &set), 0);
		cr_assert_null(set);
		cr_assert_eq(stats.overlay_xattrs, i < 2);
		cr_assert_eq(stats.dropped_xattrs, i >= 2);
	}
	for (const char *type = "12346"; *type; type++) {
		struct buf pax = {.max = 4096};
		const struct xattr_set *set;

		if (*type == '1')
			continue;
		pax_text(&pax, "SCHILY.xattr.user.u", "Linux has none here");
		pax_text(&pax, "SCHILY.xattr.trusted.t", "but these");
		cr_assert_eq(with_records(&pax, *type, &set), 0);
		cr_assert_eq(stats.dropped_xattrs, 1);
		cr_assert_eq(set->entries[1], EROFS_INDEX_TRUSTED);
	}
}

Test(layer_reader, refuses_attributes_that_cannot_be)
{
	static char value[65536], name[300];
	static const struct {
		const char *key, *value;
		int code;
	} cases[] = {
		{"LIBARCHIVE.xattr.user.a", "!!!", -EUCLEAN},
		{"LIBARCHIVE.xattr.user.%4", "YQ", -EUCLEAN},
		{"LIBARCHIVE.xattr.user.%zz", "YQ", -EUCLEAN},
		{"LIBARCHIVE.xattr.user.%00", "YQ", -EUCLEAN},
		{"SCHILY.xattr.", "v", -EUCLEAN},
		{"SCHILY.acl.access", "nonsense", -EUCLEAN},
		{"SCHILY.xattr.user.big", value, -ENOTSUP},
		{name, "v", -ENOTSUP},
	};

	memset(value, 'v', sizeof(value));
	(void)snprintf(name, sizeof(name), "SCHILY.xattr.user.%0251d", 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf pax = {.max = 1 << 20};
		const struct xattr_set *set;
		size_t n = cases[i].value == value ? sizeof(value) : strlen(cases[i].value);

		pax_bytes(&pax, cases[i].key, cases[i].value, n);
		cr_assert_eq(with_records(&pax, 0, &set), cases[i].code, "case %zu: %s", i, e.text);
	}
}

Test(layer_reader, refuses_attributes_that_do_not_fit_into_an_inode)
{
	struct buf pax = {.max = 1 << 20};
	const struct xattr_set *set;
	static char value[60000];
	char key[300];

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 5; i++) {
		(void)snprintf(key, sizeof(key), "SCHILY.xattr.user.%d", i);
		pax_bytes(&pax, key, value, sizeof(value));
	}
	cr_assert_eq(with_records(&pax, 0, &set), -ENOTSUP);
	buf_init(&pax, 1 << 20);
	for (int i = 0; i < 300; i++) {
		(void)snprintf(key, sizeof(key), "SCHILY.xattr.user.%0240d", i);
		pax_text(&pax, key, "");
	}
	cr_assert_eq(with_records(&pax, 0, &set), -ENOTSUP, "more names than a list holds");
}

Test(layer_reader, refuses_entries_that_cannot_be)
{
	static const char target[] = "a target that is longer than a path may be";
	static char longest[4200];
	struct tar_spec bad[] = {
		{.name = "sym", .type = '2'},
		{.name = "chr", .type = '3', .major = 4096},
		{.name = "blk", .type = '4', .minor = 1048576},
		{.name = "../f"},
		{.name = "link", .type = '1', .link = target},
		{.name = "d/.wh."},
		{.name = "x", .type = '2', .pax = longest},
	};
	static const int codes[] = {-EUCLEAN, -ENOTSUP, -ENOTSUP, -EUCLEAN, -EUCLEAN, -EUCLEAN, -EUCLEAN};
	struct buf pax = {.max = 8192};
	uint8_t text[4096];

	memset(text, 't', sizeof(text));
	pax_bytes(&pax, "linkpath", text, sizeof(text));
	memcpy(longest, pax.data, pax.size);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tar_out tar = TAR_OUT;
		struct layer_sink sink = SINK;

		tar_add(&tar, &bad[i]);
		cr_assert_eq(apply_tar(t, 0, &tar, &sink, NULL, &e), codes[i], "%s", bad[i].name);
		buf_deinit(&tar.b);
	}
	buf_deinit(&pax);
	{
		struct tar_out tar = TAR_OUT;
		struct layer_sink sink = SINK;

		TAR_ADD(&tar, .name = "f", .pax = "18 uid=4294967295\n");
		cr_assert_eq(apply_tar(t, 0, &tar, &sink, NULL, &e), -EUCLEAN);
		buf_deinit(&tar.b);
	}
}
