/* SPDX-License-Identifier: Apache-2.0
 * The tree front: every question of the kernel is answered from the EROFS metadata. A node's number is its
 * EROFS nid, so there is no table of nodes and nothing to forget; nothing ever changes, so the kernel may
 * keep every answer for ever. */
#include "guestfs/front_internal.h"
#include "guestfs/fuse_error.h"
#include "proto/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FOREVER 1e9		    /* seconds */
#define FIRST_NODE 2		    /* of nid 0: FUSE keeps 0 for nothing and 1 for the root */
#define XATTR_LIST_SIZE (64u << 10) /* what listxattr(2) can take */

static const struct erofs *fs_of(fuse_req_t req)
{
	const struct front *f = fuse_req_userdata(req);

	return &f->fs;
}

uint64_t front_tree_nid(const struct erofs *fs, fuse_ino_t node)
{
	return node == FUSE_ROOT_ID ? fs->root_nid : node - FIRST_NODE;
}

static fuse_ino_t node_of(const struct erofs *fs, uint64_t nid)
{
	return nid == fs->root_nid ? FUSE_ROOT_ID : nid + FIRST_NODE;
}

static int read_node(fuse_req_t req, fuse_ino_t node, struct erofs_inode *out)
{
	return erofs_inode_read(fs_of(req), out, front_tree_nid(fs_of(req), node), NULL);
}

static void fill_stat(struct stat *st, const struct erofs_inode *x)
{
	struct timespec t = {.tv_sec = x->mtime, .tv_nsec = (long)x->mtime_nsec};

	*st = (struct stat){
		.st_ino = x->nid,
		.st_mode = x->mode,
		.st_nlink = x->nlink,
		.st_uid = x->uid,
		.st_gid = x->gid,
		.st_rdev = x->rdev,
		.st_size = (off_t)x->size,
		.st_blksize = BLOCK_SIZE,
		.st_blocks = (blkcnt_t)(x->size / BLOCK_SIZE + (x->size % BLOCK_SIZE != 0)) * 8,
		.st_atim = t,
		.st_mtim = t,
		.st_ctim = t,
	};
}

static void fill_entry(const struct erofs *fs, struct fuse_entry_param *e, const struct erofs_inode *x)
{
	*e = (struct fuse_entry_param){
		.ino = node_of(fs, x->nid),
		.attr_timeout = FOREVER,
		.entry_timeout = FOREVER,
	};
	fill_stat(&e->attr, x);
}

static void tree_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *f = userdata;

	fuse_loop_init(&f->loop, conn);
	f->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	f->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	conn->want |=
		conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
				 FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA);
	conn->want &= ~(unsigned int)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO |
				      FUSE_CAP_ATOMIC_O_TRUNC);
}

/* -ENOENT is kept for ever, too; any other failure is not. */
static void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct erofs *fs = fs_of(req);
	struct fuse_entry_param entry = {.entry_timeout = FOREVER};
	struct erofs_inode dir, x;
	uint64_t nid = 0;
	uint8_t type = 0;
	int r = read_node(req, parent, &dir);

	if (r == 0)
		r = erofs_lookup(fs, &dir, name, strlen(name), &nid, &type, NULL);
	if (r == -ENOENT) {
		(void)fuse_reply_entry(req, &entry); /* node 0: there is none */
		return;
	}
	if (r == 0)
		r = erofs_child(fs, &dir, nid, type, &x, NULL);
	if (r < 0) {
		(void)fuse_reply_err(req, fuse_error_of(r));
		return;
	}
	fill_entry(fs, &entry, &x);
	(void)fuse_reply_entry(req, &entry);
}

static void tree_forget(fuse_req_t req, fuse_ino_t node, uint64_t n)
{
	(void)node;
	(void)n;
	fuse_reply_none(req);
}

static void tree_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *nodes)
{
	(void)n;
	(void)nodes;
	fuse_reply_none(req);
}

static void tree_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	struct erofs_inode x;
	struct stat st;
	int r = read_node(req, node, &x);

	(void)fi;
	if (r < 0) {
		(void)fuse_reply_err(req, fuse_error_of(r));
		return;
	}
	fill_stat(&st, &x);
	(void)fuse_reply_attr(req, &st, FOREVER);
}

static void tree_readlink(fuse_req_t req, fuse_ino_t node)
{
	char target[EROFS_SYMLINK_SIZE + 1];
	struct erofs_inode x;
	int r = read_node(req, node, &x);

	if (r == 0)
		r = erofs_readlink(fs_of(req), &x, target, NULL);
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
	else
		(void)fuse_reply_readlink(req, target);
}

/* ENOSYS: the kernel opens by itself from then on, and keeps the pages. */
static void tree_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct front *f = fuse_req_userdata(req);

	(void)node;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		(void)fuse_reply_err(req, EROFS);
	} else if (f->no_open) {
		(void)fuse_reply_err(req, ENOSYS);
	} else {
		fi->keep_cache = 1;
		(void)fuse_reply_open(req, fi);
	}
}

static void tree_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	const struct front *f = fuse_req_userdata(req);

	(void)node;
	if (f->no_opendir) {
		(void)fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	(void)fuse_reply_open(req, fi);
}

/* A piece that does not lie in one place: with a hole, or with a tail beside the inode. */
static int read_pieces(fuse_req_t req, const struct erofs_inode *x, size_t size, uint64_t offset)
{
	cleanup_free char *p = malloc(size);
	size_t done = 0;
	int r = p ? erofs_read(fs_of(req), x, p, size, offset, &done, NULL) : -ENOMEM;

	if (r == 0)
		(void)fuse_reply_buf(req, p, done);
	if (p)
		explicit_bzero(p, size);
	return r;
}

static void tree_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct front *f = fuse_req_userdata(req);
	uint64_t first = (uint64_t)offset, at = 0, n = 0;
	struct erofs_inode x;
	int r = read_node(req, node, &x);

	(void)fi;
	if (r == 0 && !S_ISREG(x.mode))
		r = -EINVAL;
	if (r == 0 && first >= x.size) {
		(void)fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (r == 0 && size > x.size - first)
		size = (size_t)(x.size - first);
	if (r == 0)
		r = erofs_map(&f->fs, &x, first, &at, &n, NULL);
	if (r == 0 && n >= size) {
		fuse_reply_image(req, f->image, size, at);
		return;
	}
	if (r >= 0)
		r = read_pieces(req, &x, size, first);
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
}

static void tree_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct erofs_inode x;
	uint64_t found = 0;
	int r = read_node(req, node, &x);

	(void)fi;
	if (r == 0 && (offset < 0 || (whence != SEEK_DATA && whence != SEEK_HOLE)))
		r = -EINVAL;
	if (r == 0)
		r = erofs_seek(fs_of(req), &x, (uint64_t)offset, whence == SEEK_HOLE, &found, NULL);
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
	else
		(void)fuse_reply_lseek(req, (off_t)found);
}

/* One answer to readdir or readdirplus. */
struct listing {
	fuse_req_t req;
	const struct erofs *fs;
	const struct erofs_inode *dir;
	bool plus;	 /* entries in the form of readdirplus */
	bool attributes; /* and with attributes */
	char *p;
	size_t size, used;
};

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A name is there even when its inode cannot be read: it is given without attributes, and who asks for those
 * meets the failure. One failure is enough for a listing; a host that is away must not cost a time-out for
 * every name. */
static int list_one(void *arg, const struct erofs_entry *entry)
{
	struct listing *l = arg;
	struct fuse_entry_param param = {
		.attr = {.st_ino = entry->nid, .st_mode = (mode_t)DTTOIF(entry->type)}};
	char name[EROFS_NAME_SIZE + 1];
	struct erofs_inode x;
	size_t n;

	memcpy(name, entry->name, entry->name_size);
	name[entry->name_size] = '\0';
	if (l->attributes && !is_dots(name)) {
		l->attributes = erofs_child(l->fs, l->dir, entry->nid, entry->type, &x, NULL) == 0;
		if (l->attributes)
			fill_entry(l->fs, &param, &x);
	}
	if (l->plus)
		n = fuse_add_direntry_plus(l->req, l->p + l->used, l->size - l->used, name, &param,
					   (off_t)entry->next);
	else
		n = fuse_add_direntry(l->req, l->p + l->used, l->size - l->used, name, &param.attr,
				      (off_t)entry->next);
	if (n > l->size - l->used)
		return 1;
	l->used += n;
	return 0;
}

/* What was listed before a failure is given; the next call meets the failure first, and gives that. */
static void list(fuse_req_t req, fuse_ino_t node, size_t size, off_t position, bool plus)
{
	cleanup_free char *p = malloc(size);
	struct listing l = {
		.req = req, .fs = fs_of(req), .plus = plus, .attributes = plus, .p = p, .size = size};
	struct erofs_inode dir;
	int r = p ? read_node(req, node, &dir) : -ENOMEM;

	l.dir = &dir;
	if (r == 0)
		r = erofs_readdir(l.fs, &dir, (uint64_t)position, list_one, &l, NULL);
	if (r < 0 && l.used == 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
	else
		(void)fuse_reply_buf(req, p, l.used);
}

static void tree_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t position,
			 struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, position, false);
}

static void tree_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t position,
			     struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, position, true);
}

static void reply_xattr(fuse_req_t req, int r, const char *p, size_t n, size_t room)
{
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
	else if (room == 0)
		(void)fuse_reply_xattr(req, n);
	else if (n > room)
		(void)fuse_reply_err(req, ERANGE);
	else
		(void)fuse_reply_buf(req, p, n);
}

static void tree_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	cleanup_free char *p = malloc(EROFS_XATTR_VALUE_SIZE);
	struct erofs_inode x;
	size_t n = 0;
	int r = p ? read_node(req, node, &x) : -ENOMEM;

	if (r == 0)
		r = erofs_getxattr(fs_of(req), &x, name, p, EROFS_XATTR_VALUE_SIZE, &n, NULL);
	reply_xattr(req, r, p, n, size);
}

/* trusted.* is for the privileged only, as in any filesystem of the kernel. */
static size_t drop_trusted(char *names, size_t n)
{
	size_t kept = 0, size;

	for (size_t at = 0; at < n; at += size) {
		size = strlen(names + at) + 1;
		if (strncmp(names + at, "trusted.", 8) == 0)
			continue;
		memmove(names + kept, names + at, size);
		kept += size;
	}
	return kept;
}

static void tree_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	cleanup_free char *p = malloc(XATTR_LIST_SIZE);
	struct erofs_inode x;
	size_t n = 0;
	int r = p ? read_node(req, node, &x) : -ENOMEM;

	if (r == 0)
		r = erofs_listxattr(fs_of(req), &x, p, XATTR_LIST_SIZE, &n, NULL);
	if (r == 0 && fuse_req_ctx(req)->uid != 0)
		n = drop_trusted(p, n);
	reply_xattr(req, r, p, n, size);
}

static void tree_statfs(fuse_req_t req, fuse_ino_t node)
{
	const struct erofs *fs = fs_of(req);
	struct statvfs st = {
		.f_bsize = BLOCK_SIZE,
		.f_frsize = BLOCK_SIZE,
		.f_blocks = fs->n_blocks,
		.f_files = fs->n_inodes,
		.f_namemax = EROFS_NAME_SIZE,
	};

	(void)node;
	(void)fuse_reply_statfs(req, &st);
}

/* The mount is read-only, so the kernel refuses writes itself; what it does not ask about needs no answer
 * here. */
const struct fuse_lowlevel_ops front_tree_ops = {
	.init = tree_init,
	.lookup = tree_lookup,
	.forget = tree_forget,
	.forget_multi = tree_forget_multi,
	.getattr = tree_getattr,
	.readlink = tree_readlink,
	.open = tree_open,
	.read = tree_read,
	.lseek = tree_lseek,
	.opendir = tree_opendir,
	.readdir = tree_readdir,
	.readdirplus = tree_readdirplus,
	.getxattr = tree_getxattr,
	.listxattr = tree_listxattr,
	.statfs = tree_statfs,
};

int front_tree_open(struct front *f, struct err *e)
{
	return erofs_open(&f->fs, image_read, f->image, image_descriptor(f->image)->image_size, e);
}
