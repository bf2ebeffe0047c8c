/* SPDX-License-Identifier: Apache-2.0
 * What this host shows in the place of an image that only a guest can read. containerd mounts a container's
 * root filesystem on the host too, to look up users in /etc/passwd and /etc/group and to copy the content of
 * image volumes. The stub answers: the user root is 0:0, there are no other names, and there is no content.
 */
#ifndef COCOON_SNAPSHOTTER_STUB_TREE_H
#define COCOON_SNAPSHOTTER_STUB_TREE_H

#include "proto/base/err.h"

/* Make the tree below ROOT/stub, or find it there, and say what the value of lowerdir= is: free() it. */
int stub_tree_make(char **lowers, const char *root, struct err *e);

#endif
