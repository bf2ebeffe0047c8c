/* SPDX-License-Identifier: Apache-2.0
 * Virtual machines whose vsock is a unix socket on the host (Firecracker's docs/vsock.md, Cloud Hypervisor's,
 * Dragonball): where the machine's own socket is PATH, its guest's connections to port P go to PATH_P, if
 * somebody listens there. This finds the sockets of new machines by patterns, listens beside each as long as
 * it is there, and hands connections to the chunk server under the name of the socket. */
#ifndef COCOON_CHUNKSTORE_HYBRID_SOCKETS_H
#define COCOON_CHUNKSTORE_HYBRID_SOCKETS_H

#include "chunkstore/chunk_server.h"

/* How often is looked, or less often, up to a second, where thousands of machines make it take long. A guest
 * needs longer to boot, and a connection that is refused is tried again. */
#define HYBRID_LOOK_MS 200

struct hybrid_sockets;

struct hybrid_sockets_config {
	/* glob(7), of the machines' own sockets, absolute; copied. Directories that a wildcard matches, and
	 * those below, are not followed where they are links. */
	const char *const *patterns;
	size_t n_patterns;
	unsigned port;
};

/* `server` is borrowed and lives longer. -ENOMEM, -EAGAIN. */
int hybrid_sockets_start(struct hybrid_sockets **out, const struct hybrid_sockets_config *config,
			 struct chunk_server *server, struct err *e);
void hybrid_sockets_stop(struct hybrid_sockets *h); /* removes its sockets; NULL is fine */

#endif
