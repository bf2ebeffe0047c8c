/* SPDX-License-Identifier: Apache-2.0
 * What the start-up list names gets a data blob of its own, in the order in which it is needed, so that one
 * range of one blob serves the start. It is a copy: the layers' own blobs stay what they are, and so stay
 * shared. The inodes point at the copy, block by block where only parts of a file are named. */
#ifndef COCOON_PUBLISHER_STARTUP_PLACE_H
#define COCOON_PUBLISHER_STARTUP_PLACE_H

#include "proto/base/err.h"
#include "publisher/layer_sink.h"
#include "publisher/sealed_layer.h"
#include "publisher/tree_nodes.h"

#include <stdbool.h>
#include <stddef.h>

/* The start-up data's place among an image's layers, in front of those of the source. */
#define STARTUP_LAYER 0u

struct startup_place {
	struct tree *tree;		   /* all layers were applied, nothing was planned */
	const struct sealed_layer *layers; /* the source's, from STARTUP_LAYER + 1 on */
	const int *blobs;		   /* their data blobs, at the same numbers */
	struct layer_sink *sink;	   /* of the start-up data */
};

/* Write what the list names to the sink, and point the tree's files at it. A file that is named in part is
 * moved in units of a block, or of more when it is larger than 128 MiB. 0, -EINVAL for a malformed list, or
 * errors of reading and sealing; then the tree is good for nothing but being freed. */
int startup_place(const struct startup_place *p, const char *text, size_t size, struct err *e);

/* Is this a file whose named parts were, or would be, moved? Files with holes stay where they are. */
bool startup_place_moves(const struct node *n);

#endif
