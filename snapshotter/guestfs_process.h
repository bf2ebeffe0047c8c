/* SPDX-License-Identifier: Apache-2.0
 * Starting cocoon-guestfs for one image, and knowing whether it lives. The process holds a lock on a file
 * that it inherits; the kernel lets go of it when the process ends, however it ends, and whoever watches it:
 * so no pid is kept that could be another's one day. */
#ifndef COCOON_SNAPSHOTTER_GUESTFS_PROCESS_H
#define COCOON_SNAPSHOTTER_GUESTFS_PROCESS_H

#include "proto/base/err.h"
#include "snapshotter/local_road.h"

#include <stdbool.h>

/* The three names that belong to one image, absolute. */
struct guestfs_paths {
	char mount[PATH_MAX], lock[PATH_MAX], log[PATH_MAX];
};

/* Mount `reference` at paths->mount (an empty directory) and return when it can be used. Its messages go to
 * paths->log. When `cancel` becomes readable the process is killed. -EBUSY when a process for this image runs
 * already; -ETIMEDOUT; -ECANCELED; -EIO with the process' last words. */
int guestfs_start(const struct local_road_config *config, const char *reference,
		  const struct guestfs_paths *paths, int cancel, struct err *e);

bool guestfs_is_alive(const struct guestfs_paths *paths);
/* Wait until the process has ended. 0 or -ETIMEDOUT. */
int guestfs_wait_end(const struct guestfs_paths *paths, unsigned timeout_ms);

#endif
