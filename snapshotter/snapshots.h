/* SPDX-License-Identifier: Apache-2.0
 * The snapshotter itself: what containerd's ten calls mean, over the database, the directories and the local
 * road. Layers of sealed images exist at once, without directories (Prepare answers -EEXIST, as containerd's
 * contract of remote snapshots has it); everything else is an ordinary overlayfs snapshot, also on top of a
 * sealed image. Any thread.
 *
 * Errors: -ENOENT, -EEXIST, -EINVAL; -EBUSY when the state of a snapshot forbids it (wrong kind, has
 * children); those of sealed.h and local_road.h for sealed images; -EIO and other errors of the machine. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOTS_H
#define COCOON_SNAPSHOTTER_SNAPSHOTS_H

#include "proto/base/err.h"
#include "snapshotter/filter.h"
#include "snapshotter/labels.h"
#include "snapshotter/local_road.h"
#include "snapshotter/mount.h"
#include "snapshotter/sealed.h"
#include "snapshotter/snapshot.h"

#include <stddef.h>
#include <stdint.h>

struct snapshots;

/* Open the state below `root` (absolute), and clear away what a crash has left. `road` and `sealed` are
 * borrowed; both are NULL in a snapshotter without sealed images. */
int snapshots_open(struct snapshots **out, const char *root, struct local_road *road,
		   struct sealed_finder *sealed, struct err *e);
void snapshots_close(struct snapshots *s); /* NULL is fine */

/* Make an ACTIVE or VIEW snapshot and say how to mount it. -EEXIST also when the labels name a sealed layer
 * and it is there now. */
int snapshots_prepare(struct snapshots *s, enum snapshot_kind kind, const char *key, const char *parent,
		      const struct labels *labels, struct mount *out, struct err *e);
int snapshots_mounts(struct snapshots *s, const char *key, struct mount *out, struct err *e);
int snapshots_commit(struct snapshots *s, const char *name, const char *key, const struct labels *labels,
		     struct err *e);
int snapshots_remove(struct snapshots *s, const char *key, struct err *e);

/* snapshot_deinit() what was found. */
int snapshots_stat(struct snapshots *s, const char *key, struct snapshot *out, struct err *e);
/* Set what the n paths name ("labels", "labels.KEY"; none: all labels) to what `labels` has, and give the
 * result. */
int snapshots_update(struct snapshots *s, const char *key, const struct labels *labels, char *const *paths,
		     size_t n, struct snapshot *out, struct err *e);
/* Call `each` (snapshot_db.h) for those that the filter shows. */
int snapshots_list(struct snapshots *s, const struct filter *filter,
		   int (*each)(void *arg, const struct snapshot *x), void *arg, struct err *e);
int snapshots_usage(struct snapshots *s, const char *key, uint64_t *size, uint64_t *inodes, struct err *e);
/* Delete what was removed, and unmount images that no snapshot needs. */
int snapshots_cleanup(struct snapshots *s, struct err *e);

#endif
