/* SPDX-License-Identifier: Apache-2.0
 * The few calls of containerd's API that pulling needs, as functions. Errors are those of
 * containerd_client.h. */
#ifndef COCOON_PUBLISHER_CONTAINERD_CALLS_H
#define COCOON_PUBLISHER_CONTAINERD_CALLS_H

#include "proto/base/bytes.h"
#include "proto/oci/manifest.h"
#include "publisher/containerd_client.h"

#include <stddef.h>
#include <stdint.h>

struct containerd_label {
	const char *key, *value; /* borrowed */
};

/* A lease that containerd drops by itself after `seconds`; everything made on the connection from now on
 * belongs to it. */
int containerd_lease_create(struct containerd_client *c, const char *id, unsigned seconds, struct err *e);
int containerd_lease_delete(struct containerd_client *c, const char *id, struct err *e);

/* Make containerd hold the blob (with all its bytes in `data`) under these labels; a blob that is there gets
 * the labels. `ref` names the transfer. */
int containerd_content_put(struct containerd_client *c, const char *ref, const struct digest *digest,
			   const struct buf *data, const struct containerd_label *labels, size_t n_labels,
			   struct err *e);

/* Prepare a snapshot. 0: it was made, and what it is to be mounted from is thrown away; -EEXIST is how a
 * remote snapshotter says that it has the layer. */
int containerd_snapshot_prepare(struct containerd_client *c, const char *snapshotter, const char *key,
				const char *parent, const struct containerd_label *labels, size_t n_labels,
				unsigned timeout_ms, struct err *e);
int containerd_snapshot_stat(struct containerd_client *c, const char *snapshotter, const char *key,
			     struct err *e);
int containerd_snapshot_remove(struct containerd_client *c, const char *snapshotter, const char *key,
			       struct err *e);

/* Give `name` to the image with this manifest, whether the name was in use or not. */
int containerd_image_put(struct containerd_client *c, const char *name, const char *media_type,
			 const struct digest *digest, uint64_t size, struct err *e);

#endif
