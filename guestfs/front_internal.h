/* SPDX-License-Identifier: Apache-2.0
 * What the two fronts share; nobody else includes this. */
#ifndef COCOON_GUESTFS_FRONT_INTERNAL_H
#define COCOON_GUESTFS_FRONT_INTERNAL_H

#include "guestfs/erofs_reader.h"
#include "guestfs/front.h"
#include "guestfs/fuse_loop.h"

#include <stdint.h>

struct front {
	struct image *image;
	char *target;
	struct front_options options;
	const char *name;
	uint64_t mount_id; /* of the mount at target */
	struct fuse_loop loop;
	/* tree front only */
	struct erofs fs;
	bool no_open, no_opendir; /* the kernel takes ENOSYS to open: set before the first request */
};

/* Both start `f`, which has image, target and options; on failure it is as before. */
int front_block_start(struct front *f, struct err *e);
int front_tree_start(struct front *f, struct err *e);

#endif
