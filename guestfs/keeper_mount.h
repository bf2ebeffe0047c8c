/* SPDX-License-Identifier: Apache-2.0
 * The mounts of both fronts, as the keeper makes them: first a FUSE device, then, when its session runs, what
 * is seen at the target. One thread. */
#ifndef COCOON_GUESTFS_KEEPER_MOUNT_H
#define COCOON_GUESTFS_KEEPER_MOUNT_H

#include "guestfs/front.h"
#include "proto/base/err.h"

#include <stdint.h>

struct keeper_mount {
	char *target; /* borrowed, as the options */
	const struct front_options *options;
	int fuse_mount;	      /* block front: the image as a file, attached nowhere; -1: none */
	uint64_t mount_id;    /* of what is at the target */
	enum front_kind kind; /* of the device that was made last */
};

/* As keeper_device(), keeper_show() and keeper_unmount() of guestfs/keeper.h. */
int keeper_mount_device(struct keeper_mount *m, enum front_kind kind, int *device, struct err *e);
int keeper_mount_show(struct keeper_mount *m, enum front_kind *kind, struct err *e);
int keeper_mount_unmount(struct keeper_mount *m, bool lazily);

#endif
