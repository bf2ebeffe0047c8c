/* SPDX-License-Identifier: Apache-2.0
 * The start-up list as a publisher writes it: paths of the image, one a line, in the order in which the
 * workload reads them. A path stands for all that is read on the way to it and of it: directories with their
 * entries, symlinks, the inode, the content. */
#ifndef COCOON_PUBLISHER_STARTUP_LIST_H
#define COCOON_PUBLISHER_STARTUP_LIST_H

#include "proto/base/err.h"
#include "publisher/erofs_writer.h"

#include <stddef.h>
#include <stdint.h>

/* The blocks of the image that reading the paths in file `path` takes, with the superblock; some more than
 * once. *blocks is malloc'ed. Paths that the image does not have are counted in *unknown; what is on the way
 * to them is read all the same. 0, -ENOMEM, or errors of reading. */
int startup_list_read(uint32_t **blocks, size_t *n, size_t *unknown, const char *path,
		      const struct erofs_plan *plan, struct err *e);

#endif
