/* SPDX-License-Identifier: Apache-2.0
 * A gRPC server for unary and server-streaming methods over the gRPC core C API. Two threads move bytes and
 * never block; a bounded pool of workers runs the handlers. A handler sees a request's bytes decoded within a
 * memory budget and leaves its answers behind; sending them is not its business. Methods that are not there
 * answer UNIMPLEMENTED. */
#ifndef COCOON_SNAPSHOTTER_RPC_SERVER_H
#define COCOON_SNAPSHOTTER_RPC_SERVER_H

#include "proto/base/err.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct rpc_server;
struct rpc; /* one call */

/* Serve one call, on a worker. 0, or a negative errno with words for the caller: the table in rpc_server.c
 * gives the status. */
typedef int rpc_handler(void *arg, struct rpc *call, struct err *e);

struct rpc_method {
	const char *path; /* "/package.Service/Method", static */
	rpc_handler *handler;
};

struct rpc_server_options {
	const struct rpc_method *methods; /* borrowed, lives longer */
	size_t n_methods;
	void *arg;	      /* for the handlers */
	unsigned workers;     /* 0: 16 */
	unsigned max_waiting; /* calls that wait for a worker; further ones get RESOURCE_EXHAUSTED. 0: 512 */
	size_t max_request;   /* bytes; 0: 1 MiB */
	size_t memory_budget; /* bytes that one decoded request may take; 0: 4 MiB */
	/* Told after each call, from any thread: the method's path ("" for unknown ones), what the handler
	 * said with rpc_name(), and the gRPC status. May be NULL. */
	void (*finished)(void *arg, const char *path, const char *name, int status);
	void *finished_arg;
};

/* Serve on connections that are accepted from `listener` (a listening unix socket, owned from then on; not
 * unlinked). Only root and this process' own user may connect. Start it when all other threads that need a
 * signal mask have been started: its threads block all signals. */
int rpc_server_start(struct rpc_server **out, const struct rpc_server_options *options, int listener,
		     struct err *e);

/* No new calls; running ones may end within grace_ms. Then they are cancelled, and `hurry` (may be NULL) is
 * called so that what their handlers wait for ends soon. Returns when all have ended. NULL is fine. */
void rpc_server_stop(struct rpc_server *s, unsigned grace_ms, void (*hurry)(void *arg), void *arg);

/* For handlers: */

/* The request as a message of this type; it lives as long as the call. -EINVAL, -E2BIG. */
int rpc_request(struct rpc *call, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
		struct err *e);
/* Leave an answer (encoded here). A unary method leaves exactly one. 0 or -ENOMEM. */
int rpc_answer(struct rpc *call, const ProtobufCMessage *message);
/* A static word for `finished`: which of several callers this is. Until it is said it is "". */
void rpc_name(struct rpc *call, const char *name);
/* The caller has gone: nobody will see the answer. */
bool rpc_is_cancelled(const struct rpc *call);

#endif
