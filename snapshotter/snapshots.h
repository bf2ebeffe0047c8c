/* SPDX-License-Identifier: Apache-2.0
 * The snapshotter itself: what containerd's ten calls mean, over the database, the directories and one road
 * to sealed images. Their layers exist at once, without directories (Prepare answers -EEXIST, as containerd's
 * contract of remote snapshots has it); everything else is an ordinary overlayfs snapshot. Any thread.
 *
 * The local road mounts a sealed image on this host, as the lowest directory of overlays. The kata road
 * leaves that to the guest in a VM: its mounts carry what Kata's runtime needs to know (kata_volume.h) over a
 * stub tree, and ordinary layers on top of a sealed image, which could not get to the guest, are refused.
 *
 * Errors: -ENOENT, -EEXIST, -EINVAL; -EBUSY when the state of a snapshot forbids it (wrong kind, has
 * children, writable side of a guest's image); those of sealed.h and local_road.h for sealed images; -EIO and
 * other errors of the machine. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOTS_H
#define COCOON_SNAPSHOTTER_SNAPSHOTS_H

#include "proto/base/err.h"
#include "snapshotter/filter.h"
#include "snapshotter/labels.h"
#include "snapshotter/local_road.h"
#include "snapshotter/mount.h"
#include "snapshotter/sealed.h"
#include "snapshotter/snapshot.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KATA_MOUNT_TYPE "fuse.nydus-overlayfs-cocoon" /* the helper that mounts it is named so */

struct snapshots;

enum road { ROAD_LOCAL, ROAD_KATA, N_ROADS };
extern const char *const road_names[N_ROADS];

/* Borrowed: the text until snapshots_open() returns, the others until snapshots_close(). */
struct snapshots_config {
	const char *root; /* absolute; the state of one road is kept below it, nothing is shared */
	enum road road;
	bool plain_in_guest;	      /* kata road: the guest brings images that are not sealed, too */
	struct local_road *local;     /* of the local road; NULL: without sealed images */
	struct sealed_finder *sealed; /* likewise, of both */
};

/* Open the state, and clear away what a crash has left. */
int snapshots_open(struct snapshots **out, const struct snapshots_config *config, struct err *e);
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
