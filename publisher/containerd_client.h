/* SPDX-License-Identifier: Apache-2.0
 * A connection to containerd: unary calls, and the one stream that writing content needs, over the gRPC core
 * C API. Every call carries the namespace (and the lease, once there is one) as metadata, and has a deadline.
 * Calls from up to four threads, but for opening, closing and taking a lease: those while no other runs.
 *
 * Errors are those that containerd's status codes stand for: -ENOENT, -EEXIST, -EINVAL, -EBUSY (failed
 * precondition), -EACCES, -EAGAIN (containerd is not there), -ETIMEDOUT, -ENOSYS; -EREMOTEIO for everything
 * else. The words are containerd's. */
#ifndef COCOON_PUBLISHER_CONTAINERD_CLIENT_H
#define COCOON_PUBLISHER_CONTAINERD_CLIENT_H

#include "proto/base/err.h"

#include <protobuf-c/protobuf-c.h>

struct containerd_client;

/* `address` is the path of containerd's socket. Connects at the first call. */
int containerd_client_open(struct containerd_client **out, const char *address, const char *namespace,
			   struct err *e);
void containerd_client_close(struct containerd_client *c); /* NULL is fine */

/* What is made from now on belongs to this lease. -ENOMEM. */
int containerd_client_use_lease(struct containerd_client *c, const char *lease);

/* Call `method` ("/package.Service/Method"). On success *reply is a message of `reply_type`, to be freed with
 * protobuf_c_message_free_unpacked(reply, NULL); reply may be NULL when nobody wants it. */
int containerd_client_call(struct containerd_client *c, const char *method, const ProtobufCMessage *request,
			   const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply,
			   unsigned timeout_ms, struct err *e);

/* The same for a method with streams in both directions: one request is sent, answers are thrown away until
 * the status comes. */
int containerd_client_stream(struct containerd_client *c, const char *method, const ProtobufCMessage *request,
			     unsigned timeout_ms, struct err *e);

#endif
