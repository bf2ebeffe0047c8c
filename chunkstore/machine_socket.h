/* SPDX-License-Identifier: Apache-2.0
 * The socket that is ours beside a virtual machine's own: PATH_PORT where that is PATH. It lies in a
 * directory of the machine's monitor, and a monitor that its guest has taken over may put anything there. So
 * it is made with the rights of the socket's owner, who has to connect to it, and below the part of the path
 * that the operator wrote no link is followed: not to another machine's directory either. Internal to
 * hybrid_sockets.c. */
#ifndef COCOON_CHUNKSTORE_MACHINE_SOCKET_H
#define COCOON_CHUNKSTORE_MACHINE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct machine_socket {
	char *path; /* of the machine's own; owned */
	unsigned port;
	struct stat machine; /* of the machine's own */
	int fd;		     /* listening; negative: why it could not be made */
	struct stat ours;    /* when it was made */
};

/* Where a pattern of glob(7) stops being literal: its directory up to there. */
size_t machine_socket_prefix(const char *pattern);

/* The calling thread gets a current directory of its own, which the functions below change. 0 or -errno. */
int machine_socket_thread(void);

/* Enter the directory of the socket at `path`, whose first `prefix` bytes the operator wrote, and tell of the
 * socket. 0; MACHINE_GONE when there is no socket in that directory; -ELOOP where a link is in the way,
 * -errno. What follows is called after it; machine_socket_leave() in the end, so that no directory is kept
 * busy. */
enum { MACHINE_GONE = 1 };
int machine_socket_enter(const char *path, size_t prefix, struct stat *out);
void machine_socket_leave(void);

/* Make ours: s->fd and s->ours. s->path, port and machine are set. */
void machine_socket_make(struct machine_socket *s);
/* Is it still in its place? */
bool machine_socket_stands(const struct machine_socket *s);
/* Close it, and take it from its place if it is there. */
void machine_socket_remove(struct machine_socket *s);

/* The same socket, of the same owner, and not another under its name. */
bool machine_socket_same(const struct stat *a, const struct stat *b);

#endif
