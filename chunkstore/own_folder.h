/* SPDX-License-Identifier: Apache-2.0
 * A folder of one process: whoever opens it first has it, until it ends. */
#ifndef COCOON_CHUNKSTORE_OWN_FOLDER_H
#define COCOON_CHUNKSTORE_OWN_FOLDER_H

#include "proto/base/err.h"

/* Make `dir` where it is not there, open it, and lock the file `lock` in it. Both descriptors are the
 * caller's to close, also after a failure; -1 where there is none. 0; -EBUSY when another process has it; a
 * negative errno. */
int own_folder_open(const char *dir, int *dir_fd, int *lock_fd, struct err *e);

#endif
