/* SPDX-License-Identifier: Apache-2.0
 * The block front: one regular file, the plaintext image, for the kernel's EROFS to be mounted on. It answers
 * with direct I/O: its pages would be a second copy of EROFS's own. (EROFS's mount option "directio" is
 * something else, it was no faster, and kernels in use have a use-after-free behind it: CVE-2026-23224.) */
#include "guestfs/front_internal.h"
#include "guestfs/fuse_error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FOREVER 1e9 /* seconds; nothing ever changes */

static struct image *image_of(fuse_req_t req)
{
	const struct front *f = fuse_req_userdata(req);

	return f->image;
}

static void block_init(void *userdata, struct fuse_conn_info *conn)
{
	struct front *f = userdata;

	fuse_loop_init(&f->loop, conn);
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

	(void)ino;
	(void)fi;
	if (at >= image_size)
		size = 0;
	else if (size > image_size - at)
		size = (size_t)(image_size - at);
	if (size > 0)
		fuse_reply_image(req, image_of(req), size, at);
	else
		(void)fuse_reply_buf(req, NULL, 0);
}

const struct fuse_lowlevel_ops front_block_ops = {
	.init = block_init,
	.getattr = block_getattr,
	.open = block_open,
	.read = block_read,
};
