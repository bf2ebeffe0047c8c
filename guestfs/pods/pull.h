/* SPDX-License-Identifier: Apache-2.0
 * Pulling an image into a container's bundle, as Kata's agent asks for it: a cocoon-guestfs of its own mounts
 * the sealed image, an overlay with its writable layer in the guest's memory goes over it at BUNDLE/rootfs,
 * and only that overlay keeps the image. So the agent's unmount at teardown is all it takes: image, daemon
 * and writable layer go with it. Keys and policy are the mounting program's; nothing here opens anything. */
#ifndef COCOON_GUESTFS_PODS_PULL_H
#define COCOON_GUESTFS_PODS_PULL_H

#include "guestfs/pods/mount_program.h"

struct puller_options {
	struct mount_program program;
	const char *bundles; /* containers' bundles are directly below it: /run/kata-containers */
	const char *state;   /* a directory of our own, on tmpfs: writable layers must not lie where the host
				sees them */
};

struct puller;

/* Makes the state directory, and takes over the pods of a puller before us that is gone; what it had not
 * finished is given up. The options are borrowed. -ENOTSUP when `state` is not in memory. */
int puller_open(struct puller **out, const struct puller_options *options, struct err *e);
void puller_close(struct puller *p); /* pods stay; NULL is fine */

/* Mount `image` at `bundle`/rootfs until the deadline (NULL: none but the mount's own) and say which manifest
 * it has (text). The same pull again, of the same image, is answered as the first. -EINVAL for a bundle or an
 * image name that cannot be; -EEXIST when something else is there; -ETIMEDOUT; -ENOTSUP when the host has no
 * sealed image under this name; -EACCES and others as the mount says. After a failure nothing is there. Any
 * thread. */
int puller_pull(struct puller *p, const char *image, const char *bundle, const struct deadline *deadline,
		char manifest[static DIGEST_TEXT_SIZE], struct err *e);

/* Remove what pods left that have ended. Called now and then. */
void puller_reap(struct puller *p);

#endif
