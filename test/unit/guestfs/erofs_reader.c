/* SPDX-License-Identifier: Apache-2.0
 * The EROFS reader against an image written by hand, sound and spoilt, and against mkfs.erofs. */
#include "guestfs/erofs_reader.h"
#include "erofs_fixture.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "test/unit/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static uint8_t image[FIXTURE_SIZE];
static uint64_t image_size;

static int pread_image(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	const uint8_t *p = arg;

	(void)e;
	/* the reader promises to stay inside */
	cr_assert(offset <= image_size && n <= image_size - offset, "%zu bytes at %llu", n,
		  (unsigned long long)offset);
	memcpy(to, p + offset, n);
	return 0;
}

static struct erofs fs;

static void set_up(void)
{
	fixture_make(image);
	image_size = FIXTURE_SIZE;
	cr_assert_eq(erofs_open(&fs, pread_image, image, FIXTURE_SIZE, NULL), 0);
}

TestSuite(erofs_reader, .init = set_up, .timeout = 300);

static struct erofs_inode inode(uint64_t nid)
{
	struct erofs_inode x;
	struct err e = {""};
	int r = erofs_inode_read(&fs, &x, nid, &e);

	cr_assert_eq(r, 0, "%s", e.text);
	return x;
}

Test(erofs_reader, reads_attributes_of_both_forms)
{
	struct erofs_inode x = inode(NID_BIG);

	cr_assert_eq(x.mode, S_IFREG | 0644);
	cr_assert_eq(x.uid, 1000);
	cr_assert_eq(x.gid, 1001);
	cr_assert_eq(x.size, 3 * 4096 + 100);
	cr_assert_eq(x.mtime, FIXTURE_BUILD_TIME);
	cr_assert_eq(x.mtime_nsec, 5);
	cr_assert_eq(x.nlink, 1);
	x = inode(NID_NULL);
	cr_assert_eq(x.mode, S_IFCHR | 0666);
	cr_assert_eq(x.uid, 100000);
	cr_assert_eq(x.gid, 200000);
	cr_assert_eq(x.mtime, -5);
	cr_assert_eq(x.mtime_nsec, 987654321);
	cr_assert_eq(major(x.rdev), 300);
	cr_assert_eq(minor(x.rdev), 70000);
	cr_assert_eq(fs.root_nid, NID_ROOT);
}

/* What byte `i` of each file is. */
static uint8_t data_at(uint64_t nid, size_t i)
{
	static const uint32_t chunked[] = {9, 0, 10, 9}, indexed[] = {8, 9, 0};
	uint32_t block = 0;

	if (nid == NID_BIG)
		block = 8 + (uint32_t)(i / 4096);
	else if (nid == NID_INLINE && i >= 4096)
		return 'i';
	else if (nid == NID_INLINE)
		block = 12;
	else if (nid == NID_CHUNKED)
		block = chunked[i / 4096];
	else
		block = indexed[i / 4096];
	return block == 0 ? 0 : image[block * 4096 + i % 4096];
}

Test(erofs_reader, reads_data_of_every_layout)
{
	static const uint64_t nids[] = {NID_BIG, NID_INLINE, NID_CHUNKED, NID_INDEXED};
	static const size_t steps[] = {1000, 4096, 5000, 100000};
	uint8_t got[100000];

	for (size_t k = 0; k < 16; k++) {
		struct erofs_inode x = inode(nids[k / 4]);
		size_t step = steps[k % 4], done = 0, at = 0;

		while (at < x.size) {
			cr_assert_eq(erofs_read(&fs, &x, got, step, at, &done, NULL), 0);
			cr_assert_eq(done, x.size - at < step ? x.size - at : step);
			for (size_t i = 0; i < done; i++)
				cr_assert_eq(got[i], data_at(x.nid, at + i), "nid %d byte %zu", (int)x.nid,
					     at + i);
			at += done;
		}
		cr_assert_eq(erofs_read(&fs, &x, got, 10, x.size, &done, NULL), 0);
		cr_assert_eq(done, 0);
		cr_assert_eq(erofs_read(&fs, &x, got, SIZE_MAX, UINT64_MAX, &done, NULL), 0);
		cr_assert_eq(done, 0);
	}
}

Test(erofs_reader, tells_where_holes_are)
{
	static const struct {
		uint64_t nid, offset;
		bool hole;
		int64_t want; /* negative: errno */
	} cases[] = {
		{NID_BIG, 5, false, 5},
		{NID_BIG, 5, true, 3 * 4096 + 100},
		{NID_BIG, 3 * 4096 + 100, true, -ENXIO},
		{NID_CHUNKED, 0, true, 4096},
		{NID_CHUNKED, 4096, false, 8192},
		{NID_CHUNKED, 4100, true, 4100},
		{NID_CHUNKED, 4100, false, 8192},
		{NID_CHUNKED, 8192, true, 3 * 4096 + 7},
		{NID_INDEXED, 0, true, 8192},
		{NID_INDEXED, 8192, false, -ENXIO},
		{NID_X, 0, false, -ENXIO},
		{NID_INLINE, 4100, true, 4146},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct erofs_inode x = inode(cases[k].nid);
		uint64_t out = 0;
		int r = erofs_seek(&fs, &x, cases[k].offset, cases[k].hole, &out, NULL);

		cr_assert_eq(r < 0 ? r : (int64_t)out, cases[k].want, "case %zu: %d %d", k, r, (int)out);
	}
}

Test(erofs_reader, reads_symbolic_links)
{
	char target[EROFS_SYMLINK_SIZE + 1];
	struct erofs_inode x = inode(NID_LINK), other = inode(NID_BIG);

	cr_assert_eq(erofs_readlink(&fs, &x, target, NULL), 0);
	cr_assert_str_eq(target, FIXTURE_TARGET);
	cr_assert_eq(erofs_readlink(&fs, &other, target, NULL), -EINVAL);
}

Test(erofs_reader, finds_every_name_and_no_other)
{
	static const char *const none[] = {"a", "a-name-of-", "a-name-of-0000", "a-name-of-300", "zzz",
					   "!", "/"};
	struct erofs_inode dir = inode(NID_DIR), file = inode(NID_BIG);
	uint64_t nid = 0;
	uint8_t type = 0;

	for (unsigned int i = 0; i < FIXTURE_NAMES; i++) {
		char name[16];

		fixture_name(name, i);
		cr_assert_eq(erofs_lookup(&fs, &dir, name, strlen(name), &nid, &type, NULL), 0, "%s", name);
		cr_assert_eq(nid, NID_FIFO);
		cr_assert_eq(type, DT_FIFO);
	}
	cr_assert_eq(erofs_lookup(&fs, &dir, "..", 2, &nid, &type, NULL), 0);
	cr_assert_eq(nid, NID_ROOT);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		cr_assert_eq(erofs_lookup(&fs, &dir, none[i], strlen(none[i]), &nid, &type, NULL), -ENOENT);
	cr_assert_eq(erofs_lookup(&fs, &file, "x", 1, &nid, &type, NULL), -ENOTDIR);
}

struct collected {
	unsigned int n, stop_at;
	uint64_t next;
	char last[256];
};

static int collect(void *arg, const struct erofs_entry *entry)
{
	struct collected *c = arg;

	if (c->n == c->stop_at)
		return 1;
	cr_assert_gt(entry->next, c->next);
	c->next = entry->next;
	memcpy(c->last, entry->name, entry->name_size);
	c->last[entry->name_size] = '\0';
	c->n++;
	return 0;
}

Test(erofs_reader, lists_from_any_position)
{
	struct erofs_inode dir = inode(NID_DIR);
	struct collected c = {.stop_at = UINT32_MAX};

	cr_assert_eq(erofs_readdir(&fs, &dir, 0, collect, &c, NULL), 0);
	cr_assert_eq(c.n, FIXTURE_NAMES + 2);
	cr_assert_str_eq(c.last, "a-name-of-299");
	for (unsigned int stop = 0; stop < FIXTURE_NAMES + 2; stop += 13) {
		struct collected a = {.stop_at = stop}, b = {.stop_at = UINT32_MAX};

		cr_assert_eq(erofs_readdir(&fs, &dir, 0, collect, &a, NULL), 0);
		b.next = a.next;
		cr_assert_eq(erofs_readdir(&fs, &dir, a.next, collect, &b, NULL), 0);
		cr_assert_eq(a.n + b.n, FIXTURE_NAMES + 2, "%d", stop);
	}
	/* a position that never was does no harm */
	cr_assert_eq(erofs_readdir(&fs, &dir, UINT64_MAX, collect, &c, NULL), 0);
	cr_assert_eq(erofs_readdir(&fs, &dir, 4095, collect, &(struct collected){.stop_at = 0}, NULL), 0);
}

Test(erofs_reader, reads_attributes_inline_and_shared)
{
	static const char names[] = "user.empty\0security.capability\0system.posix_acl_access\0trusted.t\0"
				    "user.shared\0security.selinux";
	struct erofs_inode x = inode(NID_X), plain = inode(NID_BIG);
	char got[200];
	size_t n = 0;

	cr_assert_eq(erofs_listxattr(&fs, &x, got, sizeof(got), &n, NULL), 0);
	cr_assert_eq(n, sizeof(names));
	cr_assert_eq(memcmp(got, names, n), 0);
	cr_assert_eq(erofs_listxattr(&fs, &x, NULL, 0, &n, NULL), 0);
	cr_assert_eq(n, sizeof(names));
	cr_assert_eq(erofs_listxattr(&fs, &x, got, sizeof(names) - 1, &n, NULL), -ERANGE);
	cr_assert_eq(erofs_getxattr(&fs, &x, "security.capability", got, 20, &n, NULL), 0);
	cr_assert(n == 20 && memcmp(got, "0123456789abcdefghij", 20) == 0);
	cr_assert_eq(erofs_getxattr(&fs, &x, "security.capability", got, 19, &n, NULL), -ERANGE);
	cr_assert_eq(erofs_getxattr(&fs, &x, "security.selinux", got, 200, &n, NULL), 0);
	cr_assert(n == 5 && memcmp(got, "label", 5) == 0);
	cr_assert_eq(erofs_getxattr(&fs, &x, "user.empty", got, 200, &n, NULL), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(erofs_getxattr(&fs, &x, "user.none", got, 200, &n, NULL), -ENODATA);
	cr_assert_eq(erofs_listxattr(&fs, &plain, got, 200, &n, NULL), 0);
	cr_assert_eq(n, 0);
}

/* Walk all there is: the first failure. */
struct walk {
	const struct erofs_inode *dir;
	int r;
	struct err e;
};

static int walk_one(void *arg, const struct erofs_entry *entry)
{
	struct walk *w = arg;
	char names[4096], target[EROFS_SYMLINK_SIZE + 1];
	uint8_t data[20000], type;
	struct erofs_inode x;
	uint64_t nid;
	size_t n;

	if (entry->name[0] == '.')
		return 0;
	w->r = erofs_child(&fs, w->dir, entry->nid, entry->type, &x, &w->e);
	if (w->r == 0)
		w->r = erofs_listxattr(&fs, &x, names, sizeof(names), &n, &w->e);
	if (w->r == 0 && S_ISREG(x.mode))
		w->r = erofs_read(&fs, &x, data, sizeof(data), 0, &n, &w->e);
	if (w->r == 0 && S_ISLNK(x.mode))
		w->r = erofs_readlink(&fs, &x, target, &w->e);
	if (w->r == 0)
		w->r = erofs_lookup(&fs, w->dir, entry->name, entry->name_size, &nid, &type, &w->e);
	if (w->r == 0 && S_ISDIR(x.mode)) {
		struct walk below = {.dir = &x};

		w->r = erofs_readdir(&fs, &x, 0, walk_one, &below, &w->e);
		if (w->r == 0) {
			w->r = below.r;
			w->e = below.e;
		}
	}
	return w->r != 0;
}

static int walk_all(struct err *e)
{
	struct erofs_inode root;
	struct walk w = {.dir = &root};
	int r = erofs_open(&fs, pread_image, image, image_size, e);

	if (r == 0)
		r = erofs_inode_read(&fs, &root, fs.root_nid, e);
	if (r == 0)
		r = erofs_readdir(&fs, &root, 0, walk_one, &w, e);
	if (r == 0 && w.r < 0) {
		r = w.r;
		*e = w.e;
	}
	return r;
}

Test(erofs_reader, walks_the_sound_image)
{
	struct err e = {""};
	int r = walk_all(&e);

	cr_assert_eq(r, 0, "%s", e.text);
}

/* Each breaks one rule of the format; `n` bytes of `value` at `at`, counted from an inode, a block or the
 * superblock. */
#define SUPER(x) (1024 + (x))
#define INODE(nid, x) (FIXTURE_META + (nid)*32 + (x))
#define DIR_BLOCK(x) (FIXTURE_DIR_BLOCK * 4096 + (x))
#define SHARED(x) (FIXTURE_SHARED_XATTRS * 4096 + (x))
#define ROOT_DATA(x) INODE(NID_ROOT, 64 + (x))

static const struct {
	const char *what;
	uint64_t at;
	int n;
	uint64_t value;
} spoilt[] = {
	{"magic", SUPER(0), 4, 0xE0F5E1E3},
	{"no checksum", SUPER(8), 4, 2},
	{"block size", SUPER(12), 1, 13},
	{"superblock past its block", SUPER(13), 1, 200},
	{"root outside", SUPER(14), 2, 65535},
	{"root is a file", SUPER(14), 2, NID_BIG},
	{"build time", SUPER(32), 4, 1000000000},
	{"larger than the image", SUPER(36), 4, FIXTURE_BLOCKS + 1},
	{"no blocks", SUPER(36), 4, 0},
	{"blocks end before data", SUPER(36), 4, 8},
	{"inodes past the end", SUPER(40), 4, FIXTURE_BLOCKS},
	{"volume name without end", SUPER(64), 16, UINT64_MAX},
	{"unknown feature", SUPER(80), 4, 0x44},
	{"devices", SUPER(86), 2, 1},
	{"directory blocks", SUPER(90), 1, 1},
	{"prefixes", SUPER(91), 1, 1},

	{"high bits of the format", INODE(NID_BIG, 0), 2, 0x10},
	{"compressed", INODE(NID_BIG, 0), 2, 2},
	{"unknown layout", INODE(NID_BIG, 0), 2, 5 << 1},
	{"one word of attributes", INODE(NID_BIG, 2), 2, 1},
	{"attributes past the end", INODE(NID_BIG, 2), 2, 65535},
	{"unknown type", INODE(NID_BIG, 4), 2, 0644},
	{"no links", INODE(NID_BIG, 6), 2, 0},
	{"reserved time", INODE(NID_BIG, 12), 4, 77},
	{"reserved word", INODE(NID_BIG, 28), 4, 1},
	{"block 0", INODE(NID_BIG, 16), 4, 0},
	{"data past the end", INODE(NID_BIG, 16), 4, FIXTURE_BLOCKS - 3},
	{"null block", INODE(NID_BIG, 16), 4, UINT32_MAX},
	{"too large", INODE(NID_BIG, 8), 4, UINT32_MAX},
	{"startblk_hi", INODE(NID_INLINE, 6), 2, 1},
	{"negative size", INODE(NID_INLINE, 8), 8, UINT64_MAX},
	{"huge size", INODE(NID_INLINE, 8), 8, INT64_MAX},
	{"nanoseconds", INODE(NID_INLINE, 40), 4, 1000000000},
	{"no links, extended", INODE(NID_INLINE, 44), 4, 0},
	{"reserved end", INODE(NID_INLINE, 56), 8, 1},
	{"tail crosses a block", INODE(NID_INLINE, 8), 8, 4096 + 3400},
	{"first block of inline outside", INODE(NID_INLINE, 16), 4, FIXTURE_BLOCKS},
	{"chunk format", INODE(NID_CHUNKED, 16), 4, 0x40},
	{"chunk format, high", INODE(NID_CHUNKED, 16), 4, 0x10000},
	{"chunk map past the end", INODE(NID_CHUNKED, 8), 8, 1ull << 40},
	{"chunk outside", INODE(NID_CHUNKED, 64), 4, FIXTURE_BLOCKS},
	{"chunk in block 0", INODE(NID_CHUNKED, 72), 4, 0},
	{"chunk device", INODE(NID_INDEXED, 66), 2, 1},
	{"chunk high bits", INODE(NID_INDEXED, 64), 2, 1},
	{"chunk's end outside", INODE(NID_INDEXED, 68), 4, FIXTURE_BLOCKS - 1},
	{"device with data", INODE(NID_NULL, 8), 8, 1},
	{"fifo with a layout", INODE(NID_FIFO, 0), 2, 4},
	{"empty link", INODE(NID_LINK, 8), 4, 0},
	{"long link", INODE(NID_LINK, 8), 4, 4096},
	{"zero in a link", INODE(NID_LINK, 35), 1, 0},
	{"tiny directory", INODE(NID_DIR, 8), 8, 26},
	{"chunked directory", INODE(NID_DIR, 0), 2, 9},

	{"no entries", DIR_BLOCK(8), 2, 0},
	{"entries past the block", DIR_BLOCK(8), 2, 4096},
	{"half an entry", DIR_BLOCK(8), 2, 160 * 12 + 1},
	{"offsets descend", DIR_BLOCK(12 * 5 + 8), 2, 160 * 12},
	{"an offset past the block", DIR_BLOCK(12 * 159 + 8), 2, 5000},
	{"entry type 0", DIR_BLOCK(12 * 3 + 10), 1, 0},
	{"entry type 8", DIR_BLOCK(12 * 3 + 10), 1, 8},
	{"entry of another type", DIR_BLOCK(12 * 3 + 10), 1, 1},
	{"reserved byte of an entry", DIR_BLOCK(12 * 3 + 11), 1, 1},
	{"an inode outside", DIR_BLOCK(12 * 3), 8, UINT64_MAX},
	{"an inode far outside", DIR_BLOCK(12 * 3), 8, 1ull << 59},
	{"slash in a name", DIR_BLOCK(160 * 12 + 8), 1, '/'},
	{"zero in a name", DIR_BLOCK(160 * 12 + 8), 1, 0},
	{"names out of order", DIR_BLOCK(160 * 12 + 8), 1, 'z'},
	{"empty last name", DIR_BLOCK(160 * 12 + 3 + 157 * 13), 1, 0},
	{"blocks out of order", DIR_BLOCK(4096 + 142 * 12), 1, '.'},
	{"another parent", DIR_BLOCK(12), 8, NID_DIR},
	{"directory with two names", ROOT_DATA(12 * 4), 8, NID_ROOT},

	{"attribute header", INODE(NID_X, 32 + 5), 1, 1},
	{"more shared ones than room", INODE(NID_X, 32 + 4), 1, 255},
	{"shared one outside", INODE(NID_X, 32 + 12), 4, UINT32_MAX},
	{"shared one's value outside", SHARED(2), 2, 65535},
	{"kind of name", INODE(NID_X, 32 + 20 + 1), 1, 5},
	{"long prefix", INODE(NID_X, 32 + 20 + 1), 1, 0x81},
	{"empty name", INODE(NID_X, 32 + 20), 1, 0},
	{"named ACL", INODE(NID_X, 32 + 20 + 1), 1, 2},
	{"value past the area", INODE(NID_X, 32 + 20 + 2), 2, 500},
	{"zero in an attribute's name", INODE(NID_X, 32 + 20 + 5), 1, 0},
	{"shared kind of name", SHARED(1), 1, 7},
};

Test(erofs_reader, refuses_every_broken_rule)
{
	for (size_t k = 0; k < sizeof(spoilt) / sizeof(spoilt[0]); k++) {
		struct err e = {""};
		int r;

		fixture_make(image);
		for (int i = 0; i < spoilt[k].n; i++)
			image[spoilt[k].at + (uint64_t)i] = (uint8_t)(spoilt[k].value >> 8 * (i % 8));
		fixture_seal(image);
		r = walk_all(&e);
		cr_assert_eq(r, -EUCLEAN, "%s: %d %s", spoilt[k].what, r, e.text);
	}
}

Test(erofs_reader, refuses_a_wrong_checksum_and_a_cut_image)
{
	struct err e = {""};

	image[2000] ^= 1;
	cr_assert_eq(walk_all(&e), -EUCLEAN);
	image[2000] ^= 1;
	for (image_size = 0; image_size < FIXTURE_SIZE; image_size += 500)
		cr_assert_eq(walk_all(&e), -EUCLEAN);
	image_size = FIXTURE_SIZE;
	cr_assert_eq(walk_all(&e), 0);
}

Test(erofs_reader, never_leaves_the_image_whatever_a_byte_says)
{
	uint32_t x = 1;

	/* pread_image() fails the test if it does */
	for (int k = 0; k < 3000; k++) {
		struct err e = {""};

		fixture_make(image);
		for (int i = 0; i < 3; i++) {
			x = x * 1664525 + 1013904223;
			image[1024 + (x >> 8) % (7 * 4096 - 1024)] = (uint8_t)(x >> 3);
		}
		fixture_seal(image);
		(void)walk_all(&e);
	}
}

/* mkfs.erofs as the other opinion: a tree of its making, compared with the directory it was made of. */
static uint8_t *mkfs_image;

static int pread_mkfs(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	(void)arg;
	(void)e;
	cr_assert(offset <= image_size && n <= image_size - offset);
	memcpy(to, mkfs_image + offset, n);
	return 0;
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	cr_assert_eq(system(command), 0, "%s", command);
}

static void compare_directory(const struct erofs_inode *dir, const char *path);

static int compare_entry(void *arg, const struct erofs_entry *entry)
{
	const struct walk *w = arg;
	char path[PATH_MAX];
	struct erofs_inode x;
	struct err e = {""};
	struct stat st;

	if (entry->name[0] == '.' && entry->name_size <= 2)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%.*s", w->e.text, (int)entry->name_size, entry->name);
	cr_assert_eq(erofs_child(&fs, w->dir, entry->nid, entry->type, &x, &e), 0, "%s: %s", path, e.text);
	cr_assert_eq(lstat(path, &st), 0, "%s", path);
	cr_assert_eq(x.mode, st.st_mode, "%s", path);
	cr_assert_eq(x.uid, st.st_uid);
	cr_assert_eq(x.nlink, st.st_nlink, "%s", path);
	cr_assert_eq(x.mtime, st.st_mtime, "%s", path);
	if (S_ISREG(x.mode)) {
		cleanup_buf struct buf want;
		uint8_t *got = malloc(x.size + 1);
		size_t n;

		buf_init(&want, 1 << 24);
		cr_assert_eq(file_read(AT_FDCWD, path, &want, &e), 0);
		cr_assert_eq(erofs_read(&fs, &x, got, x.size + 1, 0, &n, &e), 0, "%s", e.text);
		cr_assert(n == want.size && (n == 0 || memcmp(got, want.data, n) == 0), "%s", path);
		free(got);
	} else if (S_ISLNK(x.mode)) {
		char want[PATH_MAX] = "", got[EROFS_SYMLINK_SIZE + 1];

		cr_assert_gt(readlink(path, want, sizeof(want) - 1), 0);
		cr_assert_eq(erofs_readlink(&fs, &x, got, &e), 0);
		cr_assert_str_eq(got, want);
	} else if (S_ISDIR(x.mode)) {
		compare_directory(&x, path);
	}
	return 0;
}

static int count_entry(void *arg, const struct erofs_entry *entry)
{
	(void)entry;
	++*(unsigned int *)arg;
	return 0;
}

static void compare_directory(const struct erofs_inode *dir, const char *path)
{
	struct walk w = {.dir = dir};
	cleanup_closedir DIR *d = opendir(path);
	unsigned int here = 0, there = 0;

	cr_assert(d);
	while (readdir(d))
		here++;
	(void)snprintf(w.e.text, sizeof(w.e.text), "%s", path);
	cr_assert_eq(erofs_readdir(&fs, dir, 0, count_entry, &there, NULL), 0);
	cr_assert_eq(here, there, "%s", path);
	cr_assert_eq(erofs_readdir(&fs, dir, 0, compare_entry, &w, NULL), 0);
}

Test(erofs_reader, reads_what_mkfs_writes, .init = scratch_open, .fini = scratch_close)
{
	cleanup_buf struct buf b;
	struct erofs_inode root;
	struct err e = {""};
	char path[PATH_MAX];

	if (system("command -v mkfs.erofs >/dev/null") != 0)
		cr_skip_test("no mkfs.erofs");
	shell("cd %s && mkdir -p t/a/b t/many && seq 100000 >t/a/text && head -c 5000 /dev/zero >t/a/b/zeros "
	      "&& "
	      "ln -s ../a t/a/b/up && mkfifo t/fifo && : >t/empty && ln t/a/text t/second && "
	      "for i in $(seq 600); do echo $i >t/many/file-$i; done && chmod 4711 t/empty",
	      scratch);
	shell("mkfs.erofs -x-1 %s/image %s/t >/dev/null", scratch, scratch);
	(void)snprintf(path, sizeof(path), "%s/image", scratch);
	buf_init(&b, 1 << 26);
	cr_assert_eq(file_read(AT_FDCWD, path, &b, &e), 0);
	mkfs_image = b.data;
	image_size = b.size;
	cr_assert_eq(erofs_open(&fs, pread_mkfs, NULL, b.size, &e), 0, "%s", e.text);
	cr_assert_eq(erofs_inode_read(&fs, &root, fs.root_nid, &e), 0, "%s", e.text);
	(void)snprintf(path, sizeof(path), "%s/t", scratch);
	compare_directory(&root, path);
}
