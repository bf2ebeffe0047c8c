/* SPDX-License-Identifier: Apache-2.0
 * Delete a directory tree that a stranger has made. */
#ifndef COCOON_BASE_REMOVE_TREE_H
#define COCOON_BASE_REMOVE_TREE_H

#include "proto/base/err.h"

/* Delete `name` in the directory `dirfd`, whatever it is, with all that is below it, however deep. Follows no
 * symlink and enters no other filesystem (-EXDEV: something is mounted there, and is left). 0 also when there
 * is nothing. */
int remove_tree(int dirfd, const char *name, struct err *e);

#endif
