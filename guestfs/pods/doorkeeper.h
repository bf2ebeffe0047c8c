/* SPDX-License-Identifier: Apache-2.0
 * Kata's agent connects to the Confidential Data Hub's socket once in the life of a VM. So who holds its
 * connection must outlive the door (door.h), which may fail or be replaced by a newer one: the doorkeeper has
 * the sockets and nothing else, looks at no more of a message than its ten bytes of header, and starts the
 * door again. Calls that were under way are answered "unavailable", those that follow reach the new one. */
#ifndef COCOON_GUESTFS_PODS_DOORKEEPER_H
#define COCOON_GUESTFS_PODS_DOORKEEPER_H

#include "proto/base/err.h"
#include "proto/wire/address.h"

/* What the door is started with. */
#define DOOR_LISTENER 3 /* the descriptor it listens on */
#define DOOR_READY 4	/* where it writes a byte when it is served */

struct doorkeeper_options {
	const struct address
		*listen;     /* of the agent; unix. The door's own is beside it, with ".door" behind */
	const char *program; /* path of the door's */
	char *const *argv;
};

/* Until SIGTERM or SIGINT; SIGHUP replaces the door. 0; the errors of listening; -ECHILD when the first door
 * does not open, which has told why. */
int doorkeeper_run(const struct doorkeeper_options *o, struct err *e);

#endif
