/* SPDX-License-Identifier: Apache-2.0
 * The merged tree of an image's layers, in memory. Layers are applied from the lowest up; each entry
 * replaces, joins or removes what the layers below have, as the OCI image-spec (layer.md, "Applying
 * Changesets") says. A file's bytes are not here: an inode says in which layer's data they lie and at which
 * block. About 150 bytes for an inode with one name, and the name; 70 more
 * for each different content of up to 1 MiB. One thread at a time. */
#ifndef COCOON_PUBLISHER_TREE_H
#define COCOON_PUBLISHER_TREE_H

#include "proto/base/cleanup.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct tree;

/* An empty image: a root directory 0755 root:root. */
int tree_new(struct tree **out);
void tree_free(struct tree *t); /* NULL is fine */
DEFINE_CLEANUP(tree, struct tree *, tree_free)
#define cleanup_tree __attribute__((cleanup(cleanup_tree)))

struct tree_count {
	uint64_t inodes; /* the root too */
	uint64_t names;
};

struct tree_count tree_count(const struct tree *t);

/* The content of the regular file `path` ("etc/passwd"; symlinks are followed inside the tree). Kept only for
 * the files passwd and group of directories called etc, up to TREE_KEEP_MAX bytes. Borrowed until the next
 * change of the tree. -ENOENT: no such file; -ENOTSUP: the file is there, its content was not kept. */
#define TREE_KEEP_MAX (1u << 20)
int tree_content(struct tree *t, const char *path, const void **data, size_t *size);

#endif
