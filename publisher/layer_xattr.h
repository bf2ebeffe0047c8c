/* SPDX-License-Identifier: Apache-2.0
 * The extended attributes of a tar entry, from the PAX records of the archivers that write them:
 * SCHILY.xattr.NAME (all container tools), LIBARCHIVE.xattr.NAME, SCHILY.acl.access and .default, as the set
 * of EROFS entries that an inode of the tree refers to. */
#ifndef COCOON_PUBLISHER_LAYER_XATTR_H
#define COCOON_PUBLISHER_LAYER_XATTR_H

#include "publisher/layer_reader.h"
#include "publisher/tar_reader.h"
#include "publisher/tree_nodes.h"

/* *out is NULL when there is none. *mode is the entry's, changed where an ACL in words says more: an archiver
 * may have written the group's own permissions there, where Linux has the mask. What is left out is counted
 * in `stats`. -EUCLEAN: a malformed one; -ENOTSUP: one that does not fit into an inode. */
int layer_xattrs(const struct xattr_set **out, uint16_t *mode, struct tree *t, const struct tar_entry *entry,
		 struct layer_stats *stats, struct err *e);

#endif
