/* SPDX-License-Identifier: Apache-2.0
 * Images are held against their tree by a reader of its own, written from the format's description, and given
 * to fsck.erofs where that is installed. Order of names over blocks, which fsck.erofs does not see, is
 * checked here. */
#include "publisher/erofs_writer.h"

#include "proto/base/bytes.h"
#include "proto/base/io.h"
#include "publisher/tree_nodes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const uint8_t uuid[16] = "an image of test";
static struct tree *t;
static struct err e;
static struct erofs_plan plan;
static struct buf image;

static void setup(void)
{
	cr_assert_eq(tree_new(&t), 0);
	buf_init(&image, 256u << 20);
}

static void teardown(void)
{
	tree_free(t);
	buf_deinit(&image);
}

TestSuite(erofs_writer, .init = setup, .fini = teardown);

static struct node *put(const char *path, uint16_t mode)
{
	struct node_attr attr = {.mode = mode};
	struct node *n;

	cr_assert_eq(tree_put(t, 0, path, &attr, &n, &e), 0, "%s", e.text);
	return n;
}

static struct node *symlink_of(const char *path, size_t length)
{
	struct node_attr attr = {.mode = S_IFLNK | 0777};
	char target[4096];
	struct node *n;

	memset(target, 't', length);
	target[length] = 0;
	attr.target = target;
	cr_assert_eq(tree_put(t, 0, path, &attr, &n, &e), 0, "%s", e.text);
	return n;
}

/* One attribute with a value of this size. */
static void give_xattr(struct node *n, size_t size)
{
	struct buf b = {.max = 100000};

	buf_u8(&b, 1);
	buf_u8(&b, 4);
	buf_le16(&b, (uint16_t)size);
	buf_put(&b, "x", 1);
	for (size_t i = 0; i < size; i++)
		buf_u8(&b, (uint8_t)i);
	buf_zero(&b, -b.size & 3);
	n->xattrs = tree_xattrs(t, b.data, b.size);
	buf_deinit(&b);
}

static int take(void *arg, const void *p, size_t n, struct err *err)
{
	(void)err;
	cr_assert_eq(n % BLOCK_SIZE, 0);
	cr_assert_gt(n, 0);
	buf_put(arg, p, n);
	return 0;
}

static void write_image(const uint64_t *layer_blocks, uint32_t n_layers)
{
	cr_assert_eq(erofs_plan(&plan, t, layer_blocks, n_layers, uuid, &e), 0, "%s", e.text);
	image.size = 0;
	cr_assert_eq(erofs_write(&plan, take, &image, &e), 0);
	cr_assert_not(buf_failed(&image));
	cr_assert_eq(image.size, (size_t)plan.meta_blocks * BLOCK_SIZE);
}

/* --- a reader
 * ------------------------------------------------------------------------------------------------ */

struct inode {
	const uint8_t *p;
	bool extended;
	unsigned layout;
	uint64_t size, data; /* data: where inline data begin */
	uint32_t xattr_size, word;
};

static struct inode inode_at(const struct node *n)
{
	uint64_t at = n->nid * 32;
	struct inode i = {.p = image.data + at};
	uint16_t format = get_le16(i.p), xattr_count = get_le16(i.p + 2);
	uint32_t core;

	cr_assert_lt(at, plan.inodes_end);
	cr_assert_eq(format >> 4, 0);
	i.extended = format & 1;
	i.layout = format >> 1;
	core = i.extended ? 64 : 32;
	i.size = i.extended ? get_le64(i.p + 8) : get_le32(i.p + 8);
	i.word = get_le32(i.p + 16);
	i.xattr_size = xattr_count ? 12 + 4 * (xattr_count - 1u) : 0;
	i.data = at + core + i.xattr_size;
	cr_assert_eq(at / BLOCK_SIZE, (at + core - 1) / BLOCK_SIZE, "an inode over a border");
	return i;
}

static void check_attributes(const struct node *n, const struct inode *i)
{
	cr_assert_eq(get_le16(i->p + 4), n->mode);
	if (i->extended) {
		cr_assert_eq(get_le16(i->p + 6), 0);
		cr_assert_eq(get_le32(i->p + 24), n->uid);
		cr_assert_eq(get_le32(i->p + 28), n->gid);
		cr_assert_eq((int64_t)get_le64(i->p + 32), n->mtime);
		cr_assert_eq(get_le32(i->p + 40), n->mtime_nsec);
		cr_assert_eq(get_le32(i->p + 44), n->nlink);
	} else {
		cr_assert_eq(get_le16(i->p + 6), n->nlink);
		cr_assert_eq(get_le32(i->p + 12), 0);
		cr_assert_eq(get_le16(i->p + 24), n->uid);
		cr_assert_eq(get_le16(i->p + 26), n->gid);
		cr_assert_eq(get_le32(i->p + 28), 0);
		cr_assert_eq(n->mtime, plan.build_time);
		cr_assert_eq(n->mtime_nsec, plan.build_nsec);
	}
	cr_assert_eq(i->xattr_size, n->xattrs ? 12 + n->xattrs->size : 0);
	if (n->xattrs)
		cr_assert_arr_eq(image.data + i->data - n->xattrs->size, n->xattrs->entries, n->xattrs->size);
}

/* The bytes of a directory or symlink, wherever they are. */
static const uint8_t *data_of(const struct inode *i)
{
	uint64_t at = i->layout == 2 ? i->data : (uint64_t)i->word * BLOCK_SIZE;

	cr_assert(i->layout == 2 || i->layout == 0);
	if (i->layout == 2)
		cr_assert(i->size == 0 || i->data / BLOCK_SIZE == (i->data + i->size - 1) / BLOCK_SIZE,
			  "inline data over a border");
	cr_assert_leq(at + i->size, image.size);
	return image.data + at;
}

static int compare(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
	int r = memcmp(a, b, na < nb ? na : nb);

	return r ? r : na < nb ? -1 : na > nb;
}

static unsigned type_of(uint16_t mode)
{
	static const uint8_t types[16] = {[1] = 5, [2] = 3, [4] = 2, [6] = 4, [8] = 1, [10] = 7};

	return types[mode >> 12];
}

static void check_directory(const struct name *self, const struct inode *i)
{
	const struct node *dir = self->node, *parent = dir->dir.self->dir ? dir->dir.self->dir : dir;
	const uint8_t *data = data_of(i), *last = NULL;
	size_t last_length = 0;
	uint64_t n = 0, subdirs = 0, want = 2;

	for (const struct name *c = dir->dir.first; c; c = c->next)
		want++;
	for (uint64_t at = 0; at < i->size; at += BLOCK_SIZE) {
		const uint8_t *block = data + at;
		size_t size = i->size - at < BLOCK_SIZE ? i->size - at : BLOCK_SIZE;
		unsigned count = get_le16(block + 8) / 12;

		cr_assert_eq(get_le16(block + 8) % 12, 0);
		cr_assert_gt(count, 0);
		for (unsigned k = 0; k < count; k++) {
			const uint8_t *d = block + k * 12u, *text = block + get_le16(d + 8);
			size_t end = k + 1 < count ? get_le16(d + 12 + 8) : size;
			size_t length = strnlen((const char *)text, end - get_le16(d + 8));
			const struct node *target;

			cr_assert_gt(length, 0);
			cr_assert_leq(length, 255);
			cr_assert(!last || compare(last, last_length, text, length) < 0, "order");
			last = text;
			last_length = length;
			if (length == 1 && text[0] == '.')
				target = dir;
			else if (length == 2 && !memcmp(text, "..", 2))
				target = parent;
			else
				target = tree_find(t, dir, (const char *)text, length)->node;
			cr_assert_eq(get_le64(d), target->nid);
			cr_assert_eq(d[10], type_of(target->mode));
			cr_assert_eq(d[11], 0);
			subdirs += target != dir && target != parent && node_is_dir(target);
			n++;
		}
		/* Lookup compares up to the end of a block that is not inline. */
		if (i->layout == 0 && size < BLOCK_SIZE)
			for (size_t k = size; k < BLOCK_SIZE; k++)
				cr_assert_eq(block[k], 0);
	}
	cr_assert_eq(n, want, "%llu entries, not %llu", (unsigned long long)n, (unsigned long long)want);
	cr_assert_eq(dir->nlink, 2 + subdirs);
}

static void check_image(void)
{
	const uint8_t *super = image.data + 1024;

	cr_assert_eq(get_le32(super), 0xe0f5e1e2u);
	cr_assert_eq(get_le32(super + 8), 3);
	cr_assert_eq(super[12], 12);
	cr_assert_eq(get_le16(super + 14), tree_root(t)->node->nid);
	cr_assert_eq(get_le64(super + 16), tree_count(t).inodes);
	cr_assert_eq(get_le32(super + 36), plan.blocks);
	cr_assert_arr_eq(super + 48, uuid, 16);
	cr_assert_leq(plan.inodes_end + 12, image.size, "fsck.erofs reads 12 bytes behind the last inode");
	for (const struct name *name = tree_root(t); name; name = tree_next(name)) {
		const struct node *n = name->node;
		struct inode i = inode_at(n);

		check_attributes(n, &i);
		cr_assert_eq(i.size, n->size);
		if (node_is_dir(n))
			check_directory(name, &i);
		if (S_ISLNK(n->mode))
			cr_assert_arr_eq(data_of(&i), n->target, n->size);
		if (S_ISCHR(n->mode) || S_ISBLK(n->mode))
			cr_assert_eq(i.word, n->rdev);
		if (S_ISREG(n->mode) && !n->sparse)
			cr_assert_eq(i.word, n->size ? plan.layer_start[n->layer] + n->start : 0);
		cr_assert_eq(i.layout == 4, S_ISREG(n->mode) && n->sparse);
	}
}

/* fsck.erofs 1.5 reads no file data: data zones may be missing. */
static void check_fsck(void)
{
	char path[] = "/tmp/erofs-writer.XXXXXX", command[100], said[512];
	int fd = mkstemp(path), status;
	size_t n;
	FILE *f;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write_full(fd, image.data, image.size), 0);
	cr_assert_eq(close(fd), 0);
	(void)snprintf(command, sizeof(command),
		       "command -v fsck.erofs >/dev/null || exit 0; exec fsck.erofs %s 2>&1", path);
	f = popen(command, "r");
	cr_assert_not_null(f);
	n = fread(said, 1, sizeof(said) - 1, f);
	said[n] = 0;
	status = pclose(f);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(status, 0, "fsck.erofs: %s", said);
	cr_assert_null(strstr(said, "<E>"), "fsck.erofs: %s", said);
}

static void check_all(void)
{
	write_image(NULL, 0);
	check_image();
	check_fsck();
}

/* --- the tests
 * ----------------------------------------------------------------------------------------------- */

Test(erofs_writer, writes_an_empty_image_into_one_block)
{
	check_all();
	cr_assert_eq(plan.blocks, 1);
}

Test(erofs_writer, writes_inodes_of_every_kind)
{
	struct node *n;

	put("dir/sub/empty", S_IFDIR | 01777);
	put("dir/fifo", S_IFIFO | 0600);
	put("dir/chr", S_IFCHR | 0600)->rdev = 0xfff;
	put("dir/blk", S_IFBLK | 0600)->rdev = 0xffffffff;
	put("dir/empty", S_IFREG | 07777);
	symlink_of("dir/sym", 1);
	n = put("dir/many", S_IFREG | 0644);
	n->uid = UINT32_MAX - 1;
	n->gid = 65536;
	n->mtime = -5;
	n->mtime_nsec = 999999999;
	give_xattr(n, 3);
	cr_assert_eq(tree_link(t, 0, "a", "dir/many", &e), 0);
	cr_assert_eq(tree_link(t, 0, "z", "dir/many", &e), 0);
	check_all();
}

Test(erofs_writer, sorts_dots_among_the_names)
{
	static const char *const names[] = {"!", "+x", "-",    "...",  ".a", "..-",   "..a",
					    "0", "a",  "\x01", "\xff", ".-", ".\x01", " "};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put(names[i], S_IFREG | 0644);
	check_all();
}

Test(erofs_writer, fills_directory_blocks_to_the_last_byte)
{
	char path[300];

	/* Directories of 0 … 299 names of 1 … 255 bytes: every way to meet the end of a block. */
	for (int length = 3; length < 256; length += 36) {
		for (int n = 0; n<300; n += length> 100 ? 1 : 7) {
			for (int i = 0; i < n; i++) {
				(void)snprintf(path, sizeof(path), "%d-%d/%0*d", length, n, length, i);
				put(path, S_IFREG | 0644);
			}
		}
	}
	check_all();
}

Test(erofs_writer, looks_names_up_in_large_directories)
{
	char path[64];

	for (int i = 0; i < 50000; i++) {
		(void)snprintf(path, sizeof(path), "d/%d", i * 7919 % 50000);
		put(path, S_IFREG | 0644);
	}
	check_all();
}

Test(erofs_writer, keeps_inline_data_inside_blocks)
{
	uint32_t random = 1;
	char path[64];

	for (int i = 0; i < 3000; i++) {
		struct node *n;

		random = random * 1664525u + 1013904223u;
		(void)snprintf(path, sizeof(path), "%d/%d", i % 60, i);
		n = random >> 30 ? symlink_of(path, 1 + (random >> 8) % 4095) : put(path, S_IFREG | 0644);
		if (i % 5 == 0)
			give_xattr(n, (random >> 4) % (i % 50 ? 300 : 65536));
		n->mtime = random >> 31;
	}
	check_all();
}

Test(erofs_writer, puts_long_symlinks_and_wide_directories_into_blocks)
{
	struct inode i;
	struct node *n;

	n = symlink_of("4032", 4032);
	n->mtime = 1;
	symlink_of("4064", 4064);
	symlink_of("4065", 4065);
	symlink_of("4095", 4095);
	give_xattr(symlink_of("x", 4000), 100);
	check_all();
	i = inode_at(n);
	cr_assert_eq(i.layout, 2, "64 + 4032 is a block");
}

Test(erofs_writer, keeps_room_behind_the_last_inode)
{
	struct node *n = symlink_of("s", 1);
	char target[4096];

	for (size_t length = 1; length < 4096; length += 8) {
		free(n->target);
		memset(target, 'x', length);
		target[length] = 0;
		n->target = strdup(target);
		n->size = length;
		write_image(NULL, 0);
		check_image();
	}
	check_fsck();
}

Test(erofs_writer, goes_as_deep_as_paths_do)
{
	static char path[TREE_MAX_PATH];

	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = i % 2 ? '/' : 'd';
	put(path, S_IFREG | 0644);
	write_image(NULL, 0);
	check_image();
}

Test(erofs_writer, makes_compact_inodes_of_the_commonest_time)
{
	struct node *n[40];
	char path[32];

	for (int i = 0; i < 40; i++) {
		(void)snprintf(path, sizeof(path), "%d", i);
		n[i] = put(path, S_IFREG | 0644);
		n[i]->mtime = i < 15 ? 300 : i < 30 ? 200 : i;
	}
	check_all();
	cr_assert_eq(plan.build_time, 200, "of two as common the earlier");
	for (int i = 0; i < 40; i++)
		cr_assert_eq(inode_at(n[i]).extended, n[i]->mtime != 200);
}

Test(erofs_writer, extends_inodes_that_need_it)
{
	static const char *const names[] = {"uid", "gid", "nlink", "size", "time", "nsec"};
	struct node *n[6], *small = put("small", S_IFREG | 0644);
	char path[32];

	for (int i = 0; i < 6; i++)
		n[i] = put(names[i], S_IFREG | 0644);
	n[0]->uid = 65536;
	n[1]->gid = 65536;
	for (int i = 0; i < 65535; i++) {
		(void)snprintf(path, sizeof(path), "l/%d", i);
		cr_assert_eq(tree_link(t, 0, path, "nlink", &e), 0);
	}
	n[3]->size = 1ull << 32;
	n[4]->mtime = 1;
	n[5]->mtime_nsec = 1;
	write_image((const uint64_t[]){1u << 20}, 1);
	check_image();
	check_fsck();
	for (int i = 0; i < 6; i++)
		cr_assert(inode_at(n[i]).extended, "%s", names[i]);
	cr_assert_not(inode_at(small).extended);
}

Test(erofs_writer, addresses_the_data_of_layers_one_after_another)
{
	struct node *a = put("a", S_IFREG | 0644), *b = put("b", S_IFREG | 0644);

	*a = (struct node){.mode = a->mode, .nlink = 1, .size = 5, .layer = 0, .start = 7};
	*b = (struct node){.mode = b->mode, .nlink = 1, .size = 5, .layer = 2, .start = 1};
	write_image((const uint64_t[]){100, 0, 50}, 3);
	check_image();
	cr_assert_eq(plan.layer_start[0], plan.meta_blocks);
	cr_assert_eq(plan.layer_start[1], plan.meta_blocks + 100);
	cr_assert_eq(plan.layer_start[2], plan.meta_blocks + 100);
	cr_assert_eq(plan.blocks, plan.meta_blocks + 150);
	cr_assert_eq(inode_at(a).word, plan.meta_blocks + 7);
	cr_assert_eq(inode_at(b).word, plan.meta_blocks + 101);
}

Test(erofs_writer, maps_the_chunks_of_sparse_files)
{
	struct node *n = put("sparse", S_IFREG | 0644), *all_hole = put("hole", S_IFREG | 0644);
	struct sparse_map *m = calloc(1, sizeof(*m) + 2 * sizeof(m->runs[0]));
	uint32_t want[5];
	const uint8_t *map;
	struct inode i;

	/* 18 blocks in chunks of 4: a hole, two chunks, a hole, the last one short and in another layer. */
	*m = (struct sparse_map){.n_runs = 2, .chunk_log2 = 2};
	m->runs[0] = (struct sparse_run){.block = 4, .count = 8, .start = 0, .layer = 1};
	m->runs[1] = (struct sparse_run){.block = 16, .count = 2, .start = 3};
	n->sparse = m;
	n->size = 17 * BLOCK_SIZE + 1;
	n->layer = 1;
	all_hole->sparse = calloc(1, sizeof(*m));
	all_hole->sparse->chunk_log2 = 31;
	all_hole->size = 1ull << 43;
	give_xattr(n, 1);
	write_image((const uint64_t[]){5, 12}, 2);
	check_image();
	cr_assert_eq(get_le32(image.data + 1024 + 80), 4, "the feature is told");
	i = inode_at(n);
	cr_assert_eq(i.word, 2);
	map = image.data + i.data;
	want[0] = want[3] = UINT32_MAX;
	want[1] = plan.layer_start[1];
	want[2] = plan.layer_start[1] + 4;
	want[4] = plan.layer_start[0] + 3;
	for (int k = 0; k < 5; k++)
		cr_assert_eq(get_le32(map + 4 * k), want[k], "chunk %d", k);
	i = inode_at(all_hole);
	cr_assert_eq(i.word, 31);
	cr_assert_eq(get_le32(image.data + i.data), UINT32_MAX);
	check_fsck();
}

Test(erofs_writer, gives_the_same_bytes_for_the_same_tree)
{
	static const char *const paths[] = {"a/b", "a/c", "d", "e/f/g", "e/h"};
	struct buf first = {.max = 1 << 20};

	for (int i = 0; i < 5; i++)
		put(paths[i], S_IFREG | 0644);
	cr_assert_eq(tree_link(t, 0, "x", "e/f/g", &e), 0);
	write_image(NULL, 0);
	buf_put(&first, image.data, image.size);
	write_image(NULL, 0);
	cr_assert_arr_eq(image.data, first.data, first.size, "planned and written again");
	tree_free(t);
	cr_assert_eq(tree_new(&t), 0);
	for (int i = 4; i >= 0; i--)
		put(paths[i], S_IFREG | 0644);
	cr_assert_eq(tree_link(t, 0, "x", "e/f/g", &e), 0);
	write_image(NULL, 0);
	cr_assert_eq(image.size, first.size);
	cr_assert_arr_eq(image.data, first.data, first.size, "built in another order");
	buf_deinit(&first);
}

Test(erofs_writer, refuses_images_over_the_limit)
{
	static const uint64_t too_many[] = {EROFS_MAX_BLOCKS, UINT64_MAX - 5, 10},
			      most[] = {EROFS_MAX_BLOCKS - 1};

	cr_assert_eq(erofs_plan(&plan, t, too_many, 1, uuid, &e), -E2BIG);
	cr_assert_eq(erofs_plan(&plan, t, too_many + 1, 2, uuid, &e), -E2BIG);
	cr_assert_eq(erofs_plan(&plan, t, too_many, MAX_BLOBS, uuid, &e), -ENOTSUP);
	cr_assert_eq(erofs_plan(&plan, t, most, 1, uuid, &e), 0);
	cr_assert_eq(plan.blocks, EROFS_MAX_BLOCKS);
}

static int full(void *arg, const void *p, size_t n, struct err *err)
{
	int *left = arg;

	(void)p;
	(void)n;
	return (*left)-- ? 0 : err_set(err, -ENOSPC, "no room");
}

Test(erofs_writer, passes_on_what_its_output_says)
{
	char path[32];

	for (int i = 0; i < 5000; i++) {
		(void)snprintf(path, sizeof(path), "d/%d", i);
		put(path, S_IFREG | 0644);
	}
	cr_assert_eq(erofs_plan(&plan, t, NULL, 0, uuid, &e), 0);
	for (int fail_at = 0; fail_at < 4; fail_at++) {
		int left = fail_at;

		cr_assert_eq(erofs_write(&plan, full, &left, &e), -ENOSPC);
		cr_assert_str_eq(e.text, "no room");
	}
}
