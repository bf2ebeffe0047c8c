/* SPDX-License-Identifier: Apache-2.0
 * Serves proto/WIRE.md to guests on a unix socket, on vsock and in TLS over TCP. A guest may be hostile:
 * everything it can make the daemon hold is bounded for each connection before it is spent, a connection that
 * stalls is closed, and one that breaks the rules of the wire ends with one line in the log. */
#ifndef COCOON_CHUNKSTORE_CHUNK_SERVER_H
#define COCOON_CHUNKSTORE_CHUNK_SERVER_H

#include "chunkstore/chunkstore.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings are copied. */
struct chunk_server_config {
	const char *const *listen; /* what address_parse_listen() takes */
	size_t n_listen;	   /* at most 8; 0 is possible: chunk_server_adopt() */
	unsigned unix_mode;	   /* of sockets; 0: 0600. A stale one is replaced (PATH.lock tells) */
	unsigned max_connections;  /* 0: 512 */
	unsigned max_connections_per_peer; /* one virtual machine's; 0: 64 */
	unsigned max_open;		   /* requests of one connection, told in HELLO; 0: 64 */
	unsigned max_chunks;	  /* chunks asked for and not yet sent, of one connection; 0: 4,096 */
	uint64_t max_fetch_bytes; /* being fetched for one connection; further misses wait. 0: 32 MiB */
	unsigned stall_ms;	  /* 0: WIRE_STALL_SECONDS */
	/* For addresses with tls: the host's certificate and its key, in PEM files, and the pins of guests
	 * that may connect; none given: every guest. */
	const char *tls_certificate, *tls_key;
	const struct digest *tls_guests;
	size_t n_tls_guests;
	unsigned handshake_ms; /* in which TLS is agreed upon; 0: 10 s */
	/* Registries that a guest may name; none given: any. */
	const char *const *registries;
	size_t n_registries;
};

struct chunk_server;

/* `store` is borrowed and lives longer. -EADDRINUSE when another daemon serves the path. */
int chunk_server_start(struct chunk_server **out, const struct chunk_server_config *config,
		       struct chunkstore *store, struct err *e);
/* Serve one connected stream (owned from then on, also when it fails) that was accepted elsewhere, from
 * somebody of that name: for the log, and for max_connections_per_peer. -EBUSY over a limit, -ENOMEM,
 * -EAGAIN.
 */
int chunk_server_adopt(struct chunk_server *s, int fd, const char *peer);
/* Whether a line that guests cause may be written: all of them together have a hundred in a second. */
bool chunk_server_may_log(struct chunk_server *s);
/* Closes listeners and connections, waits for their threads; one that asks a registry at this moment delays
 * it unless registry_client_stop() was called before. NULL is fine. */
void chunk_server_stop(struct chunk_server *s);

struct chunk_server_stats {
	uint64_t connections;		    /* now */
	uint64_t accepted, refused, broken; /* broken: ended for breaking the wire's rules or stalling */
	uint64_t requests, failures, chunks, bytes; /* answered; bytes of chunks */
};
void chunk_server_stats(struct chunk_server *s, struct chunk_server_stats *out);

#endif
