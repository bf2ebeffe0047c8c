/* SPDX-License-Identifier: Apache-2.0
 * What each process of the daemon may do. The one with the keys may read and write the descriptors that it
 * has, use memory, and start threads: no capability, no file, no program, no socket of its own making, no
 * other process. The keeper may mount and connect: it opens what is there, and makes no file, no program and
 * no other process. */
#ifndef COCOON_GUESTFS_PRIVILEGES_H
#define COCOON_GUESTFS_PRIVILEGES_H

#include "proto/base/err.h"

/* Ask the kernel to end others first when memory is short. What is not allowed is left, and logged at debug.
 */
void privileges_spare_from_oom(void);

/* Load what libraries would open later, then give everything up, for this thread and those that it starts:
 * before others run. Landlock and the filter of system calls are the kernel's to have: where it lacks one,
 * that is logged at debug and the rest holds; any other failure is one. */
int privileges_drop(struct err *e);

/* The keeper's, before its threads start: of root's capabilities only those for mounting and for a socket of
 * another user, and a filter of system calls; of sockets only those of the host's address `family` (no
 * Landlock: it forbids all mounting). A user other than root keeps what it has: it has no privilege but
 * fusermount3(1), which a filter would take from it. 0 or a negative errno; a kernel without seccomp is none.
 */
int privileges_keep_mounting(int family);

#endif
