/* SPDX-License-Identifier: Apache-2.0
 * The block front. A FUSE mount whose root is one regular file, the plaintext image, is never shown anywhere;
 * the kernel's EROFS is mounted on that file, directly or over a loop device, and only it appears. So one
 * umount takes everything down, in the only order there is. The file answers with direct I/O: its pages
 * would be a second copy of EROFS's own. (EROFS's mount option "directio" is something else, it was no
 * faster, and kernels in use have a use-after-free behind it: CVE-2026-23224.) */
#include "guestfs/front_internal.h"
#include "guestfs/fuse_error.h"
#include "guestfs/kernel_mount.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOREVER 1e9 /* seconds; nothing ever changes */

static struct image *image_of(fuse_req_t req)
{
	const struct front *f = fuse_req_userdata(req);

	return f->image;
}

static void block_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	fuse_loop_init(conn);
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO);
	conn->want &= ~(unsigned int)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC);
}

static void block_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct descriptor *d = image_descriptor(image_of(req));
	struct stat st = {
		.st_ino = ino,
		.st_mode = S_IFREG | 0400,
		.st_nlink = 1,
		.st_size = (off_t)d->image_size,
		.st_blocks = (blkcnt_t)(d->image_size / 512),
		.st_blksize = BLOCK_SIZE,
	};

	(void)fi;
	(void)fuse_reply_attr(req, &st, FOREVER);
}

static void block_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		(void)fuse_reply_err(req, EROFS);
		return;
	}
	fi->direct_io = 1;
	fi->keep_cache = 1; /* EROFS reads its metadata through this file's page cache */
	(void)fuse_reply_open(req, fi);
}

static void block_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	uint64_t image_size = image_descriptor(image_of(req))->image_size, at = (uint64_t)offset;
	cleanup_free char *p = NULL;
	int r = 0;

	(void)ino;
	(void)fi;
	if (at >= image_size)
		size = 0;
	else if (size > image_size - at)
		size = (size_t)(image_size - at);
	if (size > 0) {
		p = malloc(size);
		r = p ? image_read(image_of(req), p, size, at, NULL) : -ENOMEM;
	}
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
	else
		(void)fuse_reply_buf(req, p, size);
	if (p)
		explicit_bzero(p, size);
}

static const struct fuse_lowlevel_ops block_ops = {
	.init = block_init,
	.getattr = block_getattr,
	.open = block_open,
	.read = block_read,
};

/* A session on a /dev/fuse of our own, as libfuse cannot make a mount that is nowhere. */
static int session_start(struct front *f, int device, struct err *e)
{
	char *argv[] = {(char[]){"cocoon-guestfs"}, (char[]){"-omax_read=" FUSE_LOOP_MAX_READ_TEXT}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session;
	char name[32];

	session = fuse_session_new(&args, &block_ops, sizeof(block_ops), f);
	fuse_opt_free_args(&args);
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", device);
	if (!session || fuse_session_mount(session, name) < 0) {
		if (session)
			fuse_session_destroy(session);
		(void)close(device);
		return err_set(e, -ENOMEM, "libfuse does not take the session");
	}
	return fuse_loop_start(&f->loop, session, e);
}

/* Over a loop device, for kernels that want a block device. */
static int erofs_on_loop(struct front *f, const char *image, struct err *e)
{
	cleanup_close int file = open(image, O_RDONLY | O_CLOEXEC), loop = -1;
	char path[32];

	if (file < 0)
		return err_errno(e, -errno, "opening the image");
	f->name = "loop";
	loop = loop_attach(file, path, e);
	return loop < 0 ? loop : mount_erofs(path, &f->options, e);
}

static int erofs_start(struct front *f, int fuse_mount, struct err *e)
{
	char image[64];
	struct stat st;
	int fd;

	/* the kernel must know the size: it reads nothing of a file that it believes to be empty */
	if (fstat(fuse_mount, &st) < 0)
		return err_errno(e, -errno, "the image as a file");
	(void)snprintf(image, sizeof(image), "/proc/self/fd/%d", fuse_mount);
	if (f->options.kind == FRONT_LOOP)
		return erofs_on_loop(f, image, e);
	f->name = "block";
	fd = mount_erofs(image, &f->options, e);
	return fd == -ENOTBLK ? erofs_on_loop(f, image, e) : fd;
}

/* What this kernel or this user cannot do, told apart from what went wrong. */
static int impossible(int r)
{
	return r == -ENODEV || r == -EPERM || r == -EACCES || r == -ENOSYS ? -ENOTSUP : r;
}

int front_block_start(struct front *f, struct err *e)
{
	cleanup_close int device = open("/dev/fuse", O_RDWR | O_CLOEXEC), fuse_mount = -1, erofs_mount = -1;
	int r;

	if (device < 0)
		return impossible(err_errno(e, -errno, "/dev/fuse"));
	fuse_mount = mount_fuse_file(device, FUSE_LOOP_MAX_READ, e);
	if (fuse_mount < 0)
		return impossible(fuse_mount);
	r = session_start(f, take_fd(&device), e);
	if (r < 0)
		return r;
	erofs_mount = erofs_start(f, fuse_mount, e);
	r = erofs_mount < 0 ? erofs_mount : mount_attach(erofs_mount, f->target, &f->mount_id, e);
	if (r < 0) {
		/* what is not attached goes with its descriptors */
		fuse_loop_stop(&f->loop, true);
		return impossible(r);
	}
	return 0;
}
