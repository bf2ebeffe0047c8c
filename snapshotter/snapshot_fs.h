/* SPDX-License-Identifier: Apache-2.0
 * The directories of ordinary snapshots: ROOT/snapshots/<id>/fs holds the files, …/work is overlayfs' own.
 * What is removed is renamed aside first, which is quick, and deleted later. Containers fill these trees:
 * nothing here follows a symlink, or trusts a depth. Any thread, for different ids. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOT_FS_H
#define COCOON_SNAPSHOTTER_SNAPSHOT_FS_H

#include "proto/base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct snapshot_fs;

/* `root` is absolute, at most 3,000 bytes. */
int snapshot_fs_open(struct snapshot_fs **out, const char *root, struct err *e);
void snapshot_fs_close(struct snapshot_fs *f); /* NULL is fine */

enum snapshot_dir { SNAPSHOT_FS, SNAPSHOT_WORK };
/* The absolute path, written into `path`, which is returned. */
const char *snapshot_fs_path(const struct snapshot_fs *f, int64_t id, enum snapshot_dir which,
			     char path[static PATH_MAX]);

/* Make the directories of a new snapshot; leftovers of the same id go. The root of the files takes owner,
 * mode and times of the directory `like` (NULL: root, 0755), because overlayfs shows the upper directory's.
 */
int snapshot_fs_create(struct snapshot_fs *f, int64_t id, bool writable, const char *like, struct err *e);

/* Disk usage in bytes, and inodes, of the snapshot's files; hard links count once. Reads the whole tree. */
int snapshot_fs_usage(struct snapshot_fs *f, int64_t id, uint64_t *size, uint64_t *inodes, struct err *e);

/* Rename the snapshot's directories aside. 0 also when there are none. */
int snapshot_fs_remove(struct snapshot_fs *f, int64_t id, struct err *e);

/* Delete what was renamed aside, and with `keep` every directory whose id it does not keep. Fails at the end,
 * with the first error. */
typedef bool snapshot_fs_keep(void *arg, int64_t id);
int snapshot_fs_cleanup(struct snapshot_fs *f, snapshot_fs_keep *keep, void *arg, struct err *e);

#endif
