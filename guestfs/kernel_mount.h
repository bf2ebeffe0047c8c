/* SPDX-License-Identifier: Apache-2.0
 * Mounts as descriptors (fsopen(2) and friends): made where nobody sees them, shown in one step when they
 * work. All return a descriptor or 0, or a negative errno with words. */
#ifndef COCOON_GUESTFS_KERNEL_MOUNT_H
#define COCOON_GUESTFS_KERNEL_MOUNT_H

#include "guestfs/front.h"
#include "proto/base/err.h"

#include <stdint.h>

/* A FUSE mount over the open /dev/fuse `device` that is one regular file. The session need not run yet. */
int mount_fuse_file(int device, unsigned int max_read, struct err *e);

/* The kernel's EROFS on the file at `source` (-ENOTBLK: this kernel wants a block device; -ENODEV: it has no
 * EROFS). */
int mount_erofs(const char *source, const struct front_options *options, struct err *e);

/* A read-only loop device over `file`, which goes by itself when its last user goes. Its name in `path`. The
 * descriptor holds it until it is mounted. */
int loop_attach(int file, char path[static 32], struct err *e);

/* Show detached `mount` at `target`; *id is its mount id from then on. */
int mount_attach(int mount, const char *target, uint64_t *id, struct err *e);

/* The id of the topmost mount at `target`, without asking its filesystem anything: that may not answer. */
int mount_id_at(const char *target, uint64_t *id);

/* Is the topmost mount at `target` the one with this id? 1, 0, or a negative errno when that cannot be told.
 */
int mount_is_at(const char *target, uint64_t id);

#endif
