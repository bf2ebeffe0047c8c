/* SPDX-License-Identifier: Apache-2.0
 * A mounted image. The block front shows it as one file, privately, and has the kernel's EROFS mounted on
 * that; the tree front serves names and attributes itself. Either way there is one mount at `target`, it
 * appears when it is usable, and the front ends by itself when that mount and everything that holds on to it
 * is gone. */
#ifndef COCOON_GUESTFS_FRONT_H
#define COCOON_GUESTFS_FRONT_H

#include "guestfs/image.h"
#include "proto/base/err.h"

#include <stdbool.h>

struct front;
struct keeper;

enum front_kind {
	FRONT_AUTO,  /* block, and tree where that cannot be had */
	FRONT_BLOCK, /* over a loop device where the kernel wants a block device */
	FRONT_LOOP,  /* always over a loop device */
	FRONT_TREE,
};

struct front_options {
	enum front_kind kind;
	bool nosuid, nodev, noexec; /* of the mount; the image as it is without them */
};

/* `image` and `keeper`, which makes the mounts, are borrowed and outlive the front. Signals must be blocked:
 * threads are started. -ENOTSUP when this kernel or this user cannot have the front that was asked for. */
int front_start(struct front **out, struct image *image, struct keeper *keeper, enum front_kind kind,
		struct err *e);

/* "block", "loop" or "tree": what it became. */
const char *front_name(const struct front *f);

/* Readable when the front has ended: nothing is mounted any more. */
int front_ended_fd(const struct front *f);

/* Take the mount away from its target, if it is still ours; `lazily` also when it is busy: the front then
 * ends with its last user. 0, -EBUSY, or another negative errno. */
int front_unmount(struct front *f, bool lazily);

/* Wait for the end, or with `now` end without waiting: who still reads gets EIO or ENOTCONN. */
void front_close(struct front *f, bool now);

#endif
