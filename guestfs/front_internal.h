/* SPDX-License-Identifier: Apache-2.0
 * What the two fronts share; nobody else includes this. */
#ifndef COCOON_GUESTFS_FRONT_INTERNAL_H
#define COCOON_GUESTFS_FRONT_INTERNAL_H

#include "guestfs/erofs_reader.h"
#include "guestfs/front.h"
#include "guestfs/fuse_loop.h"
#include "guestfs/keeper.h"

#include <stdbool.h>

struct front {
	struct image *image;
	struct keeper *keeper;
	enum front_kind kind; /* what it became */
	struct fuse_loop loop;
	/* tree front only */
	struct erofs fs;
	bool no_open, no_opendir; /* the kernel takes ENOSYS to open: set before the first request */
};

/* What each front answers with. */
extern const struct fuse_lowlevel_ops front_block_ops, front_tree_ops;

/* Open the filesystem that the tree front serves. */
int front_tree_open(struct front *f, struct err *e);
/* The inode that the tree front's node stands for. */
uint64_t front_tree_nid(const struct erofs *fs, fuse_ino_t node);

#endif
