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

/* `image` is borrowed and outlives the front; `target` is an absolute path without symbolic links, copied.
 * Signals must be blocked: threads are started. */

/* EROFS over a loop device is what older kernels need; `on_loop` wants it on a newer one, too. -ENOTSUP when
 * this kernel or this user cannot have the block front: then the tree front may do. */
int front_block_start(struct front **out, struct image *image, const char *target, bool on_loop,
		      struct err *e);
int front_tree_start(struct front **out, struct image *image, const char *target, struct err *e);

/* Readable when the front has ended: nothing is mounted any more. */
int front_ended_fd(const struct front *f);

/* Take the mount away from `target`, if it is still ours; `lazily` also when it is busy: the front then ends
 * with its last user. 0, -EBUSY, or another negative errno. */
int front_unmount(struct front *f, bool lazily);

/* Wait for the end, or with `now` end without waiting: who still reads gets EIO or ENOTCONN. */
void front_close(struct front *f, bool now);

#endif
