/* SPDX-License-Identifier: Apache-2.0
 * What snapshots.c (the calls), sealed_layers.c (layers of sealed images) and snapshot_mount.c (what lies
 * below a snapshot) share. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOTS_INTERNAL_H
#define COCOON_SNAPSHOTTER_SNAPSHOTS_INTERNAL_H

#include "snapshotter/snapshot_db.h"
#include "snapshotter/snapshot_fs.h"
#include "snapshotter/snapshots.h"

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>

struct snapshots {
	struct snapshot_db *db;
	struct snapshot_fs *fs;
	enum road road;
	bool plain_in_guest;
	struct local_road *local;     /* NULL: images are not mounted on this host */
	char *stub;		      /* of the kata road: lowerdir= in the place of an image; owned */
	struct sealed_finder *sealed; /* NULL: no sealed images */
	bool index_off;		      /* overlayfs knows index= */
	pthread_mutex_t cleaning;     /* one cleanup at a time; taken before everything else */
};

/* What lies below a snapshot: ordinary layers, topmost first, then perhaps a sealed image. */
struct lowers {
	size_t n;
	int64_t *ids;	 /* owned */
	char *reference; /* owned; of the image, NULL when there is none */
	struct digest chain;
	struct labels labels;	   /* of the topmost snapshot */
	char image_path[PATH_MAX]; /* where it is mounted; "" when the guest does that */
};

void lowers_deinit(struct lowers *l);

#define cleanup_lowers __attribute__((cleanup(lowers_deinit)))

/* The record of a snapshot, in a transaction of its own; `_or_restore`: when it is missing, and its name is
 * that of a sealed layer, it is made again first. */
int snapshots_get(struct snapshots *s, const char *name, struct snapshot *out, struct err *e);
int snapshots_get_or_restore(struct snapshots *s, const char *name, struct snapshot *out, struct err *e);
/* containerd knows a snapshot that we do not: when its name says that it is a sealed layer, make it again. 0
 * when it is there now. */
int snapshots_restore(struct snapshots *s, const char *name, struct err *e);

/* Prepare of a sealed layer: -EEXIST when the labels name one and it is there now; 0 when they name none. */
int snapshots_prepare_sealed(struct snapshots *s, const char *key, const char *parent,
			     const struct labels *labels, struct err *e);

/* Find what is below `parent`, which is made again when it is a sealed layer that is missing, and on the
 * local road have the image mounted (and held, until snapshots_release_lowers()) when there is one. */
int snapshots_find_lowers(struct snapshots *s, const char *parent, struct lowers *l, struct err *e);
void snapshots_release_lowers(struct snapshots *s, const struct lowers *l);
/* How to mount the snapshot: one directory is bound; more are put together by overlayfs; what a guest brings
 * says so. 0 or -ENOMEM. */
int snapshots_make_mount(struct snapshots *s, const struct snapshot *x, const struct lowers *l,
			 struct mount *m);

#endif
