/* SPDX-License-Identifier: Apache-2.0
 * The kernel's table of mounts. Asking it never touches the filesystems themselves, so a dead or hanging one
 * does no harm. */
#ifndef COCOON_SNAPSHOTTER_MOUNT_TABLE_H
#define COCOON_SNAPSHOTTER_MOUNT_TABLE_H

#include "proto/base/err.h"

/* Is something mounted at exactly this absolute, normalised path? 1, 0, or a negative errno. */
int mount_table_has(const char *path, struct err *e);

/* Unmount everything that is mounted at `path`, the topmost first; what is in use goes away when its last
 * user does. */
int mount_table_unmount(const char *path, struct err *e);

#endif
