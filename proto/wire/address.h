/* SPDX-License-Identifier: Apache-2.0
 * Where the wire is spoken: unix:PATH or vsock:CID:PORT, written the same way everywhere (WIRE.md). Pure:
 * text in, socket address out; connecting and listening are the business of guestfs/ and chunkstore/. */
#ifndef COCOON_WIRE_ADDRESS_H
#define COCOON_WIRE_ADDRESS_H

#include "proto/base/err.h"

#include <sys/socket.h>

#define WIRE_DEFAULT_ADDRESS "unix:/run/cocoon/chunks.sock"

struct address {
	socklen_t size; /* of what is used in `sa` */
	union {
		struct sockaddr sa;
		struct sockaddr_storage storage;
	};
};

/* "unix:PATH" (1 … 107 bytes), "vsock:CID:PORT" or "vsock:CID" (WIRE_DEFAULT_PORT); CID is a number or "any",
 * which only a listener can use. 0; -EINVAL with words. */
int address_parse(struct address *out, const char *text, struct err *e);

#endif
