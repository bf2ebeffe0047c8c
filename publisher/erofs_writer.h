/* SPDX-License-Identifier: Apache-2.0
 * The merged tree as EROFS metadata: superblock, inodes, xattrs, directories, symlinks. The image's address
 * space is the metadata, blocks 0 … meta_blocks − 1, and then each layer's data, one after another, as the
 * sinks took it: block b of layer i is block layer_start[i] + b of the image. Uses only what kernels from 6.1
 * and erofs-utils 1.5 read. The same tree gives the same bytes. */
#ifndef COCOON_PUBLISHER_EROFS_WRITER_H
#define COCOON_PUBLISHER_EROFS_WRITER_H

#include "proto/base/err.h"
#include "proto/format/format.h"
#include "publisher/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EROFS_MAX_BLOCKS 0xfffffffeu /* of the whole image */

struct erofs_plan {
	uint32_t layer_start[MAX_BLOBS]; /* first block of each layer's data */
	uint32_t meta_blocks;
	uint32_t blocks; /* all */
	/* The writer's own: */
	struct tree *tree; /* borrowed */
	uint8_t uuid[16];
	uint64_t inodes_end; /* byte behind the last inode */
	uint64_t n_inodes;
	uint32_t dir_start; /* first block of what is not inline: large directories, long symlinks */
	uint32_t dir_blocks;
	int64_t build_time; /* mtime of compact inodes */
	uint32_t build_nsec;
	bool chunked; /* there are sparse files */
};

/* Give every inode its place; the tree must not change any more, and has one plan at a time. layer_blocks[i]
 * is how many blocks the data of layer i has; uuid should depend on the content only (the digest of the
 * source, for example). -E2BIG when the image would be over EROFS_MAX_BLOCKS. */
int erofs_plan(struct erofs_plan *out, struct tree *t, const uint64_t *layer_blocks, uint32_t n_layers,
	       const uint8_t uuid[static 16], struct err *e);

/* Call `range` for the blocks that a reader of `n`, an inode of the planned tree, reads: those of the inode
 * with its attributes, then those of its entries, target or content. */
struct node;
typedef void erofs_range_fn(void *arg, uint64_t first, uint64_t count);
void erofs_ranges(const struct erofs_plan *plan, const struct node *n, erofs_range_fn *range, void *arg);

/* Write the metadata: `write` is called with consecutive pieces, each a whole number of blocks (at most 64
 * KiB), meta_blocks altogether. Memory does not grow with the tree. May be called again and gives the same
 * bytes. */
typedef int erofs_write_fn(void *arg, const void *p, size_t n, struct err *e);
int erofs_write(const struct erofs_plan *plan, erofs_write_fn *write, void *arg, struct err *e);

#endif
