/* SPDX-License-Identifier: Apache-2.0
 * The keeper: a second process that has the privileges and none of the keys. It is forked before a key is
 * read, knows address, target and options from the command line, and never sees a byte that came from the
 * host. The first process, which has keys and no privileges at all, asks it for the few things it cannot do
 * itself. The keeper ends with the first process, and takes away a mount that is not shown by then. When the
 * keeper ends first, mounts go on, but a broken connection stays broken and a signal cannot unmount: requests
 * fail with -EPIPE. */
#ifndef COCOON_GUESTFS_KEEPER_H
#define COCOON_GUESTFS_KEEPER_H

#include "guestfs/front.h"
#include "proto/base/err.h"
#include "proto/wire/address.h"

struct keeper;

struct keeper_options {
	const struct address *address; /* of the host */
	char *target;		       /* absolute, without symbolic links */
	const struct front_options *front;
};

/* Fork it. Before threads start, keys are read and privileges dropped; SIGINT, SIGTERM and SIGHUP are blocked
 * (a service manager sends them to every process, and the keeper ends last). What `options` points to is
 * borrowed for the call. */
int keeper_start(struct keeper **out, const struct keeper_options *options, struct err *e);
void keeper_stop(struct keeper *k); /* ends it, and unmounts nothing. NULL is fine */

/* Readable when the keeper has ended. */
int keeper_ended_fd(const struct keeper *k);

/* A non-blocking stream to the host, connected or about to be. The errors of socket(2) and connect(2). One
 * thread at a time, beside the functions that follow. `keeper` is a struct keeper. */
int keeper_connect(void *keeper, struct err *e);

/* A /dev/fuse for `kind`, which is FRONT_BLOCK, FRONT_LOOP or FRONT_TREE. What an earlier call has made is
 * given up. -ENOTSUP when this kernel or this user cannot have that front. */
int keeper_device(struct keeper *k, enum front_kind kind, int *device, struct err *e);

/* Show the mount at the target; the session on the device runs, for the kernel reads through it. *kind is
 * what the front became: FRONT_LOOP where FRONT_BLOCK needed a loop device. -ENOTSUP as above. */
int keeper_show(struct keeper *k, enum front_kind *kind, struct err *e);

/* Take the mount away from the target, if it is still ours. 0, -EBUSY (not when `lazily`), or what went
 * wrong. */
int keeper_unmount(struct keeper *k, bool lazily);

#endif
