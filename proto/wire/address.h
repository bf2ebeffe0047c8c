/* SPDX-License-Identifier: Apache-2.0
 * Where the wire is spoken: unix:PATH, vsock:CID:PORT or tls:ADDRESS:PORT, written the same way everywhere
 * (WIRE.md). Pure: text in, socket address out; connecting and listening are the business of guestfs/ and
 * chunkstore/. */
#ifndef COCOON_WIRE_ADDRESS_H
#define COCOON_WIRE_ADDRESS_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <sys/socket.h>

#define WIRE_DEFAULT_ADDRESS "unix:/run/cocoon/chunks.sock"

struct address {
	bool tls;	   /* spoken in TLS over this TCP address */
	struct digest pin; /* of the host's key; address_parse_host() alone sets it */
	socklen_t size;	   /* of what is used in `sa` */
	union {
		struct sockaddr sa;
		struct sockaddr_storage storage;
	};
};

/* Each takes what can be written at its place. 0; -EINVAL with words.
 *
 * "unix:PATH" (1 … 107 bytes), "vsock:CID:PORT" or "vsock:CID" (WIRE_DEFAULT_PORT); CID is a number or "any",
 * which only a listener can use. */
int address_parse(struct address *out, const char *text, struct err *e);
/* Where a guest finds its host: as above, or "tls:ADDRESS:PORT:sha256:PIN", ADDRESS being IPv4 or IPv6 in
 * brackets and PIN what the host's key has as its digest, in 64 hex digits. There is none without a pin. */
int address_parse_host(struct address *out, const char *text, struct err *e);
/* Where a host listens: as above, or "tls:ADDRESS:PORT", without a pin. */
int address_parse_listen(struct address *out, const char *text, struct err *e);

#endif
