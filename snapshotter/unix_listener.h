/* SPDX-License-Identifier: Apache-2.0
 * The listening unix socket of the daemon: given by systemd, or made here. A lock file beside it makes sure
 * that no second daemon takes the place of a live one. */
#ifndef COCOON_SNAPSHOTTER_UNIX_LISTENER_H
#define COCOON_SNAPSHOTTER_UNIX_LISTENER_H

#include "proto/base/err.h"

struct unix_listener {
	int fd;	    /* listening; -1 once it was handed on */
	int lock;   /* -1 for a socket that systemd gave */
	char *path; /* owned; NULL for a socket that systemd gave */
};

/* `path` is absolute, at most 107 bytes; directories that are missing are made. The socket gets `mode`: call
 * before threads start, as the umask is changed for a moment. -EADDRINUSE when another process serves it. */
int unix_listener_open(struct unix_listener *out, const char *path, unsigned mode, struct err *e);
/* Closes, and removes the socket when it was made here. */
void unix_listener_close(struct unix_listener *l);

#endif
