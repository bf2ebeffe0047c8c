/* SPDX-License-Identifier: Apache-2.0
 * What the daemon keeps of root's power: mounting, and reading keys and sockets of other users. */
#ifndef COCOON_GUESTFS_PRIVILEGES_H
#define COCOON_GUESTFS_PRIVILEGES_H

#include "proto/base/err.h"

/* Before threads start. For a user other than root this does nothing: there is nothing to drop, and
 * fusermount3 needs its setuid bit. */
int privileges_drop(struct err *e);

#endif
