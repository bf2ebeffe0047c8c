/* SPDX-License-Identifier: Apache-2.0
 * Who is at the other end of a connection, as far as the kernel or its key tells. Internal to the chunk
 * server. */
#ifndef COCOON_CHUNKSTORE_PEER_H
#define COCOON_CHUNKSTORE_PEER_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <sys/socket.h>

#define PEER_SIZE 192

struct peer {
	/* Whose connections are counted together, while they last: "vsock:CID", a machine's socket, an IP
	 * address. "": nobody's. CIDs, paths and addresses are used again and prove nothing. */
	char machine[PEER_SIZE];
	char name[PEER_SIZE]; /* for the log */
};

/* Of a connection that was accepted from `from`. 0; -EACCES with words for one by vsock that comes from this
 * very host (CID 1), or from the one that this host is a machine of (CID 2): neither is a guest, and a local
 * process has the unix socket, whose mode says who may. */
int peer_identify(struct peer *p, int fd, const struct sockaddr_storage *from, struct err *e);

/* Somebody that the caller can name. */
void peer_set(struct peer *p, const char *name);

/* The name has the pin of the peer's key as well, or says that it has shown none (NULL). */
void peer_add_key(struct peer *p, const struct digest *pin);

#endif
