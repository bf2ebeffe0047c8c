/* SPDX-License-Identifier: Apache-2.0
 * The start-up list as a publisher writes it: paths of the image, one a line, in the order in which the
 * workload reads them. */
#ifndef COCOON_PUBLISHER_STARTUP_LIST_H
#define COCOON_PUBLISHER_STARTUP_LIST_H

#include "proto/base/err.h"
#include "publisher/tree.h"

#include <stddef.h>
#include <stdint.h>

/* Where the data of the files in `path` lie: blocks counted from the first data block of the image,
 * layer_blocks[i] being the size of layer i. *blocks is malloc'ed. Paths that the image does not have, or
 * that are no files, are left out and counted in *unknown. 0, -ENOMEM, or errors of reading. */
int startup_list_read(uint32_t **blocks, size_t *n, size_t *unknown, const char *path, struct tree *tree,
		      const uint64_t *layer_blocks, struct err *e);

#endif
