/* SPDX-License-Identifier: Apache-2.0
 * One source layer: its stored bytes are pulled, hashed, decompressed, hashed again and read as a tar; every
 * entry goes into the merged tree, every file's bytes into the layer's sink. Nothing is held but one file of
 * up to 1 MiB, so memory does not depend on the layer. What the sink is told depends on this layer's tar
 * alone, never on other layers. */
#ifndef COCOON_PUBLISHER_LAYER_READER_H
#define COCOON_PUBLISHER_LAYER_READER_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "publisher/layer_sink.h"
#include "publisher/tree.h"

#include <stddef.h>
#include <stdint.h>

/* Where the stored (compressed) bytes come from, and what they must be. */
struct layer_source {
	/* Put up to `room` (> 0) bytes into `buf` and their number into `*n`, 0 at the end. Must never give
	 * more than the blob is long to be accepted: more than `size` bytes are refused, and so are fewer.
	 * Called from one thread at a time, which need not be layer_apply()'s. 0 or a negative errno. */
	int (*read)(void *arg, void *buf, size_t room, size_t *n, struct err *e);
	void *arg;
	const char *media_type; /* decides the compression */
	struct digest digest;	/* of the stored bytes, from the manifest */
	uint64_t size;
	struct digest diff_id; /* of the tar, from the config */
};

/* What went through, for a progress line and for warnings. */
struct layer_stats {
	uint64_t entries;	 /* of the tar, whiteouts included */
	uint64_t tar_bytes;	 /* uncompressed */
	uint64_t shared_files;	 /* regular files whose bytes were there already, in this layer or below */
	uint64_t dropped_xattrs; /* neither user, trusted, security nor an ACL; user.* where Linux has none */
	uint64_t overlay_xattrs; /* overlayfs' own, always dropped */
};

/* 0 when an image may be built from such a layer; -ENOTSUP with words: foreign, encrypted, unknown. */
int layer_media_type_check(const char *media_type, struct err *e);

/* Apply the layer to `t`. `index` counts the source layers from 0, the lowest; calls come in that order, each
 * index once, all from one thread. The layer is complete and has the promised digests when this returns 0.
 * After a failure the tree and the sink are good for nothing but being freed. -EBADMSG: a digest or the size
 * differs. -EUCLEAN: not a valid layer. -ENOTSUP: valid, but no image of ours can hold it. -E2BIG: over a
 * limit. Else what the source or the sink returned, or -ENOMEM. */
int layer_apply(struct tree *t, unsigned index, const struct layer_source *source, struct layer_sink *sink,
		struct layer_stats *stats, struct err *e);

#endif
