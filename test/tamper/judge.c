/* SPDX-License-Identifier: Apache-2.0
 * Every question is asked twice: of the image, and of the plaintext that was sealed. */
#include "judge.h"
#include "guestfs/erofs_reader.h"
#include "guestfs/fuse_error.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READ_MAX (256u << 10)
#define DATA_MAX 16384u
#define NAMES_MAX 256u
#define DEPTH_MAX 8

char judge_words[200];

static int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int wrong(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	(void)vsnprintf(judge_words, sizeof(judge_words), format, list);
	va_end(list);
	return WRONG;
}

static bool is_all(const uint8_t *p, size_t n, uint8_t value)
{
	return n == 0 || (p[0] == value && memcmp(p, p + 1, n - 1) == 0);
}

int judge_read(struct image *i, const struct specimen *ref, uint64_t offset, size_t n)
{
	static _Thread_local uint8_t got[READ_MAX];
	int r;

	memset(got, 0xa5, n);
	r = image_pread(i, got, n, offset, NULL);
	if (r < 0)
		return is_all(got, n, 0)
			       ? r
			       : wrong("read of %zu at %#jx failed, not with zeros", n, (uintmax_t)offset);
	return memcmp(got, ref->plain + offset, n) == 0
		       ? 0
		       : wrong("read of %zu at %#jx: other bytes", n, (uintmax_t)offset);
}

int judge_config(struct image *i, const struct specimen *ref)
{
	cleanup_buf struct buf got;
	int r;

	buf_init(&got, MAX_CONFIG_SIZE);
	r = image_config(i, &got, NULL);
	if (r < 0)
		return r;
	return got.size == strlen(ref->config) && memcmp(got.data, ref->config, got.size) == 0
		       ? 0
		       : wrong("another config, of %zu bytes", got.size);
}

int judge_all(struct image *i, const struct specimen *ref)
{
	int r = image_descriptor(i)->image_size == ref->size ? 0 : wrong("another size of image");

	if (r == 0)
		r = judge_config(i, ref);
	for (uint64_t at = 0; r == 0 && at < ref->size; at += READ_MAX)
		r = judge_read(i, ref, at, ref->size - at < READ_MAX ? (size_t)(ref->size - at) : READ_MAX);
	return r;
}

/* The same filesystem, as it was sealed and as the guest sees it. */
struct both {
	struct erofs ref, got;
};

static int plain_pread(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	const struct specimen *s = arg;

	(void)e;
	memcpy(to, s->plain + offset, n);
	return 0;
}

/* Two answers to one question: the same, a failure of I/O, or wrong. */
static int compare(int ref, int got, bool same, const char *what)
{
	if (got == -EIO)
		return got;
	if (got != ref)
		return wrong("%s gives %d instead of %d", what, got, ref);
	return got < 0 || same ? 0 : wrong("%s gives something else", what);
}

static int open_both(struct both *b, struct image *i, const struct specimen *ref)
{
	union {
		const struct specimen *in;
		void *out;
	} arg = {ref};
	int r = erofs_open(&b->ref, plain_pread, arg.out, ref->size, NULL);

	if (r < 0)
		return wrong("the reference has no superblock: %d", r);
	r = erofs_open(&b->got, image_read, i, image_descriptor(i)->image_size, NULL);
	return compare(0, r,
		       b->got.root_nid == b->ref.root_nid && b->got.size == b->ref.size &&
			       b->got.n_inodes == b->ref.n_inodes && b->got.n_blocks == b->ref.n_blocks &&
			       b->got.build_time == b->ref.build_time,
		       "the superblock");
}

static bool same_inode(const struct erofs_inode *a, const struct erofs_inode *b)
{
	return a->nid == b->nid && a->size == b->size && a->mtime == b->mtime &&
	       a->mtime_nsec == b->mtime_nsec && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
	       a->nlink == b->nlink && a->rdev == b->rdev && a->layout == b->layout &&
	       a->xattr_size == b->xattr_size;
}

struct listing {
	size_t n;
	struct {
		char name[EROFS_NAME_SIZE + 1];
		size_t name_size;
		uint64_t nid;
		uint8_t type;
	} entries[NAMES_MAX];
};

static int collect(void *arg, const struct erofs_entry *e)
{
	struct listing *l = arg;

	if (l->n == NAMES_MAX)
		return 1;
	memcpy(l->entries[l->n].name, e->name, e->name_size);
	l->entries[l->n].name[e->name_size] = '\0';
	l->entries[l->n].name_size = e->name_size;
	l->entries[l->n].nid = e->nid;
	l->entries[l->n++].type = e->type;
	return 0;
}

/* A listing that ends early must have failed; what came before is right in any case. */
static int judge_listing(const struct both *b, const struct erofs_inode *dir, struct listing *ref)
{
	static _Thread_local struct listing got;
	int r;

	ref->n = 0;
	got.n = 0;
	if (erofs_readdir(&b->ref, dir, 0, collect, ref, NULL) < 0)
		return wrong("the reference has no listing of %ju", (uintmax_t)dir->nid);
	r = erofs_readdir(&b->got, dir, 0, collect, &got, NULL);
	if (got.n > ref->n)
		return wrong("%zu names instead of %zu", got.n, ref->n);
	for (size_t k = 0; k < got.n; k++)
		if (strcmp(got.entries[k].name, ref->entries[k].name) != 0 ||
		    got.entries[k].nid != ref->entries[k].nid || got.entries[k].type != ref->entries[k].type)
			return wrong("name %zu of %ju is another", k, (uintmax_t)dir->nid);
	return compare(0, r, got.n == ref->n, "a listing");
}

/* Find entry k of `l` by its name, and a name that is not there. */
static int judge_lookup(const struct both *b, const struct erofs_inode *dir, const struct listing *l,
			size_t k, struct erofs_inode *ref)
{
	struct erofs_inode got = {0};
	uint64_t nid = 0;
	uint8_t type = 0;
	int r = erofs_lookup(&b->got, dir, l->entries[k].name, l->entries[k].name_size, &nid, &type, NULL);

	r = compare(0, r, nid == l->entries[k].nid && type == l->entries[k].type, "lookup");
	if (r != 0)
		return r;
	r = erofs_lookup(&b->got, dir, "no such name", 12, &nid, &type, NULL);
	r = compare(-ENOENT, r, true, "lookup of a name that is not there");
	if (r != 0)
		return r;
	if (erofs_inode_read(&b->ref, ref, l->entries[k].nid, NULL) < 0)
		return wrong("the reference has no inode %ju", (uintmax_t)l->entries[k].nid);
	if (strcmp(l->entries[k].name, ".") == 0 || strcmp(l->entries[k].name, "..") == 0)
		r = erofs_inode_read(&b->got, &got, ref->nid, NULL);
	else
		r = erofs_child(&b->got, dir, ref->nid, l->entries[k].type, &got, NULL);
	return compare(0, r, same_inode(ref, &got), "an inode");
}

static int judge_attributes(const struct both *b, const struct erofs_inode *inode)
{
	char ref[300], got[300];
	size_t ref_size = 0, got_size = 0;
	int want = erofs_listxattr(&b->ref, inode, ref, sizeof(ref), &ref_size, NULL);
	int r = erofs_listxattr(&b->got, inode, got, sizeof(got), &got_size, NULL);

	r = compare(want, r, got_size == ref_size && memcmp(ref, got, ref_size) == 0,
		    "the list of attributes");
	if (r != 0)
		return r;
	want = erofs_getxattr(&b->ref, inode, "user.x", ref, sizeof(ref), &ref_size, NULL);
	r = erofs_getxattr(&b->got, inode, "user.x", got, sizeof(got), &got_size, NULL);
	return compare(want, r, got_size == ref_size && memcmp(ref, got, ref_size) == 0, "an attribute");
}

static int judge_target(const struct both *b, const struct erofs_inode *inode)
{
	static _Thread_local char ref[EROFS_SYMLINK_SIZE + 1], got[EROFS_SYMLINK_SIZE + 1];
	int want = erofs_readlink(&b->ref, inode, ref, NULL), r = erofs_readlink(&b->got, inode, got, NULL);

	return compare(want, r, r < 0 || strcmp(ref, got) == 0, "readlink");
}

static int judge_data(const struct both *b, const struct erofs_inode *inode, size_t n, uint64_t offset)
{
	static _Thread_local uint8_t ref[DATA_MAX], got[DATA_MAX];
	size_t ref_done = 0, got_done = 0;
	int want = erofs_read(&b->ref, inode, ref, n, offset, &ref_done, NULL);
	int r = erofs_read(&b->got, inode, got, n, offset, &got_done, NULL);

	return compare(want, r, got_done == ref_done && memcmp(ref, got, ref_done) == 0, "read of a file");
}

/* All of a file, or some of it. */
static int judge_inode(const struct both *b, const struct erofs_inode *inode, struct random *random)
{
	int r = judge_attributes(b, inode);

	if (r == 0 && S_ISLNK(inode->mode))
		r = judge_target(b, inode);
	if (r != 0 || !S_ISREG(inode->mode))
		return r;
	if (random)
		return judge_data(b, inode, 1 + random_below(random, DATA_MAX),
				  random_below(random, inode->size + 1));
	for (uint64_t at = 0; r == 0 && at < inode->size; at += DATA_MAX)
		r = judge_data(b, inode, DATA_MAX, at);
	return r;
}

int judge_path(struct image *i, const struct specimen *ref, struct random *random)
{
	static _Thread_local struct listing l;
	struct erofs_inode dir, next;
	struct both b;
	int r = open_both(&b, i, ref);

	if (r == 0 && erofs_inode_read(&b.ref, &dir, b.ref.root_nid, NULL) < 0)
		r = wrong("the reference has no root");
	for (int depth = 0; r == 0 && depth < DEPTH_MAX && S_ISDIR(dir.mode); depth++) {
		r = judge_listing(&b, &dir, &l);
		if (r == 0)
			r = judge_lookup(&b, &dir, &l, random_below(random, l.n), &next);
		if (r == 0)
			r = judge_inode(&b, &next, random);
		dir = next;
	}
	return r;
}

static int judge_below(const struct both *b, const struct erofs_inode *dir, int depth)
{
	struct listing l;
	struct erofs_inode inode;
	int r = judge_listing(b, dir, &l), worst = r;

	if (r != WRONG && depth == DEPTH_MAX)
		r = wrong("a tree deeper than it was made");
	/* the reference's names, also where the image's listing failed */
	for (size_t k = 0; k < l.n && r != WRONG; k++) {
		r = judge_lookup(b, dir, &l, k, &inode);
		if (r == 0)
			r = judge_inode(b, &inode, NULL);
		if (r == 0 && S_ISDIR(inode.mode) && l.entries[k].name[0] != '.')
			r = judge_below(b, &inode, depth + 1);
		if (r != 0)
			worst = r;
	}
	return r == WRONG ? r : worst;
}

int judge_tree(struct image *i, const struct specimen *ref)
{
	struct erofs_inode root;
	struct both b;
	int r = open_both(&b, i, ref);

	if (r == 0 && erofs_inode_read(&b.ref, &root, b.ref.root_nid, NULL) < 0)
		r = wrong("the reference has no root");
	return r == 0 ? judge_below(&b, &root, 0) : r;
}
