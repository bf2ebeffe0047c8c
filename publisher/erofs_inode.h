/* SPDX-License-Identifier: Apache-2.0
 * How an inode and a directory look in EROFS: what the planning pass and the writing pass must agree on. */
#ifndef COCOON_PUBLISHER_EROFS_INODE_H
#define COCOON_PUBLISHER_EROFS_INODE_H

#include "publisher/erofs_writer.h"
#include "publisher/tree_nodes.h"

#include <stdbool.h>
#include <stdint.h>

/* The form of an inode. Its parts follow one another: inode, xattrs, tail. */
struct erofs_shape {
	bool extended;
	uint8_t layout;
	uint32_t xattr_size; /* with their header; 0 without any */
	uint64_t tail_size;  /* inline data, or the chunks' block addresses */
};

/* node->size, ->nlink are final. */
void erofs_shape(struct erofs_shape *out, const struct erofs_plan *p, const struct node *n);

static inline uint32_t erofs_core_size(const struct erofs_shape *s)
{
	return s->extended ? 64 : 32;
}

/* The inode proper and its xattr header, without the attributes: at most EROFS_INODE_MAX bytes. Returns their
 * number. */
#define EROFS_INODE_MAX 76u
uint32_t erofs_encode_inode(const struct erofs_plan *p, const struct node *n, const struct erofs_shape *s,
			    uint8_t out[static EROFS_INODE_MAX]);

/* Goes through a directory's entries as they are stored: sorted, with "." and "..". The tree is sorted. */
struct erofs_dirents {
	const struct node *dir;
	const struct name *next; /* of the tree's names */
	unsigned dots;		 /* how many of "." and ".." were given */
};

struct erofs_dirent {
	const char *text;
	uint32_t length;
	const struct node *node;
};

void erofs_dirents_begin(struct erofs_dirents *d, const struct node *dir);
bool erofs_dirents_next(struct erofs_dirents *d, struct erofs_dirent *out);

/* Bytes of a directory; *n_subdirs counts those in it. */
uint64_t erofs_dir_size(const struct node *dir, uint32_t *n_subdirs);

/* The next block of a directory: as many entries as fit. Returns the bytes that it has, 0 behind the last
 * one; the rest of `block` is zero. */
uint32_t erofs_dir_block(struct erofs_dirents *d, uint8_t block[static BLOCK_SIZE]);

#endif
