/* SPDX-License-Identifier: Apache-2.0
 * What is known of one snapshot. Kinds and fields are those of containerd's API; `id` names the snapshot's
 * directory, `image` is ours: set on the top snapshot of a sealed image, where the image's mount takes the
 * place of directories. */
#ifndef COCOON_SNAPSHOTTER_SNAPSHOT_H
#define COCOON_SNAPSHOTTER_SNAPSHOT_H

#include "snapshotter/labels.h"

#include <stdint.h>

enum snapshot_kind { SNAPSHOT_VIEW = 1, SNAPSHOT_ACTIVE = 2, SNAPSHOT_COMMITTED = 3 };

struct snapshot {
	int64_t id;
	enum snapshot_kind kind;
	char *chain; /* owned, as everything below. The chain ID of a layer of a sealed image, which has no
		      * directory; NULL for an ordinary snapshot */
	char *name;
	char *parent; /* "" for a snapshot without one */
	char *image; /* registry/repository@sha256:… of the sealed image whose last layer this is, or NULL */
	int64_t created_ns, updated_ns; /* since the epoch */
	uint64_t size, inodes;		/* of a committed one */
	struct labels labels;
};

void snapshot_deinit(struct snapshot *s); /* the struct is empty then */

#define cleanup_snapshot __attribute__((cleanup(snapshot_deinit)))

#endif
