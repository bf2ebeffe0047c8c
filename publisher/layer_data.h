/* SPDX-License-Identifier: Apache-2.0
 * The bytes of a layer's files, from the tar into the layer's sink, and where they went into the inode: small
 * files by content, once each; large ones as they come; of sparse files only what is not a hole. */
#ifndef COCOON_PUBLISHER_LAYER_DATA_H
#define COCOON_PUBLISHER_LAYER_DATA_H

#include "publisher/layer_reader.h"
#include "publisher/tar_reader.h"
#include "publisher/tree_nodes.h"

#include <assert.h>

#define LAYER_WHOLE_FILE (1u << 20) /* files up to this size are read whole and compared by content */
static_assert(LAYER_WHOLE_FILE == TREE_KEEP_MAX, "what is read whole can be kept");

struct layer_data {
	/* borrowed */
	struct tree *tree;
	struct layer_sink *sink;
	struct tar_reader *tar;
	struct layer_stats *stats;
	unsigned layer;
	uint8_t *buffer; /* LAYER_WHOLE_FILE bytes */
};

/* `entry` is the tar's current one, a regular file; `node` its inode. */
int layer_data_store(struct layer_data *d, const struct tar_entry *entry, struct node *node, struct err *e);

#endif
