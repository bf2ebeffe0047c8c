/* SPDX-License-Identifier: Apache-2.0
 * Batches are started and waited for one after another on one queue. The status of a call only comes when its
 * initial metadata and every message were asked for, so a call reads until there are no more messages. */
#include "publisher/containerd_client.h"

#include "proto/base/cleanup.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>

#define MAX_METADATA 2

struct containerd_client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	char *address, *namespace, *lease;
};

static const struct {
	grpc_status_code status;
	int error;
} errors[] = {
	{GRPC_STATUS_NOT_FOUND, -ENOENT},
	{GRPC_STATUS_ALREADY_EXISTS, -EEXIST},
	{GRPC_STATUS_INVALID_ARGUMENT, -EINVAL},
	{GRPC_STATUS_FAILED_PRECONDITION, -EBUSY},
	{GRPC_STATUS_PERMISSION_DENIED, -EACCES},
	{GRPC_STATUS_UNAVAILABLE, -EAGAIN},
	{GRPC_STATUS_DEADLINE_EXCEEDED, -ETIMEDOUT},
	{GRPC_STATUS_UNIMPLEMENTED, -ENOSYS},
};

/* grpc's own messages (a socket that is not there) come back as words of the call. */
static void be_silent(gpr_log_func_args *args)
{
	(void)args;
}

DEFINE_CLEANUP(containerd_client, struct containerd_client *, containerd_client_close)

int containerd_client_open(struct containerd_client **out, const char *address, const char *namespace,
			   struct err *e)
{
	__attribute__((cleanup(cleanup_containerd_client))) struct containerd_client *c =
		calloc(1, sizeof(*c));
	char key_retries[] = GRPC_ARG_ENABLE_RETRIES, key_backoff[] = GRPC_ARG_MAX_RECONNECT_BACKOFF_MS;
	grpc_arg list[] = {{.type = GRPC_ARG_INTEGER, .key = key_retries, .value.integer = 0},
			   {.type = GRPC_ARG_INTEGER, .key = key_backoff, .value.integer = 1000}};
	grpc_channel_args args = {2, list};
	grpc_channel_credentials *credentials;
	cleanup_free char *target = NULL;

	if (!c)
		return -ENOMEM;
	gpr_set_log_function(be_silent);
	grpc_init();
	c->queue = grpc_completion_queue_create_for_pluck(NULL);
	c->address = realpath(address, NULL);
	c->namespace = strdup(namespace);
	if (!c->address)
		return err_errno(e, -errno, "%s", address);
	if (strlen(c->address) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, -EINVAL, "%s is over 107 bytes", c->address);
	if (!c->namespace || asprintf(&target, "unix://%s", c->address) < 0) {
		target = NULL;
		return -ENOMEM;
	}
	credentials = grpc_insecure_credentials_create();
	c->channel = grpc_channel_create(target, credentials, &args);
	grpc_channel_credentials_release(credentials);
	*out = take_ptr(c);
	return 0;
}

void containerd_client_close(struct containerd_client *c)
{
	if (!c)
		return;
	if (c->channel)
		grpc_channel_destroy(c->channel);
	grpc_completion_queue_shutdown(c->queue);
	grpc_completion_queue_destroy(c->queue);
	grpc_shutdown_blocking();
	free(c->address);
	free(c->namespace);
	free(c->lease);
	free(c);
}

int containerd_client_use_lease(struct containerd_client *c, const char *lease)
{
	char *copy = strdup(lease);

	if (!copy)
		return -ENOMEM;
	free(c->lease);
	c->lease = copy;
	return 0;
}

/* Start a batch and wait for its end; the call's deadline is the batch's. */
static bool run(struct containerd_client *c, grpc_call *call, const grpc_op *ops, size_t n)
{
	int tag;

	if (grpc_call_start_batch(call, ops, n, &tag, NULL) != GRPC_CALL_OK)
		return false;
	return grpc_completion_queue_pluck(c->queue, &tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
}

static size_t metadata_of(const struct containerd_client *c, grpc_metadata to[static MAX_METADATA])
{
	size_t n = 0;

	to[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("containerd-namespace"),
				  .value = grpc_slice_from_copied_string(c->namespace)};
	if (c->lease)
		to[n++] = (grpc_metadata){.key = grpc_slice_from_static_string("containerd-lease"),
					  .value = grpc_slice_from_copied_string(c->lease)};
	return n;
}

/* Send the request and close our side; ask for the initial metadata. */
static void send_request(struct containerd_client *c, grpc_call *call, grpc_byte_buffer *request)
{
	grpc_metadata metadata[MAX_METADATA];
	grpc_metadata_array received;
	size_t n = metadata_of(c, metadata);
	grpc_op ops[4];

	grpc_metadata_array_init(&received);
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].data.send_initial_metadata.count = n;
	ops[0].data.send_initial_metadata.metadata = metadata;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = request;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &received;
	(void)run(c, call, ops, 4); /* what failed, the status tells */
	grpc_metadata_array_destroy(&received);
	for (size_t i = 0; i < n; i++)
		grpc_slice_unref(metadata[i].value);
}

/* Read messages until there are none; the first one is kept. */
static void receive_all(struct containerd_client *c, grpc_call *call, grpc_byte_buffer **first)
{
	for (;;) {
		grpc_byte_buffer *message = NULL;
		grpc_op op;

		memset(&op, 0, sizeof(op));
		op.op = GRPC_OP_RECV_MESSAGE;
		op.data.recv_message.recv_message = &message;
		if (!run(c, call, &op, 1) || !message)
			return;
		if (*first)
			grpc_byte_buffer_destroy(message);
		else
			*first = message;
	}
}

static int receive_status(struct containerd_client *c, grpc_call *call, struct err *e)
{
	grpc_status_code status = GRPC_STATUS_UNKNOWN;
	grpc_slice details = grpc_empty_slice();
	grpc_metadata_array trailing;
	int error = -EREMOTEIO;
	char *words;
	grpc_op op;

	grpc_metadata_array_init(&trailing);
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	op.data.recv_status_on_client.trailing_metadata = &trailing;
	op.data.recv_status_on_client.status = &status;
	op.data.recv_status_on_client.status_details = &details;
	(void)run(c, call, &op, 1);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].status == status)
			error = errors[i].error;
	words = grpc_slice_to_c_string(details);
	if (status == GRPC_STATUS_OK)
		error = 0;
	else if (status == GRPC_STATUS_UNAVAILABLE)
		(void)err_set(e, error, "containerd at %s: %s", c->address, words);
	else
		(void)err_set(e, error, "%s", words);
	gpr_free(words);
	grpc_slice_unref(details);
	grpc_metadata_array_destroy(&trailing);
	return error;
}

static grpc_byte_buffer *encode(const ProtobufCMessage *message)
{
	grpc_slice bytes = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	grpc_byte_buffer *buffer;

	(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(bytes));
	buffer = grpc_raw_byte_buffer_create(&bytes, 1);
	grpc_slice_unref(bytes);
	return buffer;
}

static int decode(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out,
		  struct err *e)
{
	grpc_byte_buffer_reader reader;
	grpc_slice bytes;

	if (!grpc_byte_buffer_reader_init(&reader, buffer))
		return err_set(e, -EREMOTEIO, "an answer that cannot be read");
	bytes = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	*out = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(bytes), GRPC_SLICE_START_PTR(bytes));
	grpc_slice_unref(bytes);
	return *out ? 0 : err_set(e, -EREMOTEIO, "an answer that is no %s", type->short_name);
}

static int call(struct containerd_client *c, const char *method, const ProtobufCMessage *request,
		grpc_byte_buffer **reply, unsigned timeout_ms, struct err *e)
{
	grpc_slice name = grpc_slice_from_copied_string(method);
	grpc_call *call = grpc_channel_create_call(
		c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, name, NULL,
		gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN)),
		NULL);
	grpc_byte_buffer *message = encode(request);
	int r;

	send_request(c, call, message);
	receive_all(c, call, reply);
	r = receive_status(c, call, e);
	grpc_byte_buffer_destroy(message);
	grpc_call_unref(call);
	grpc_slice_unref(name);
	return r;
}

int containerd_client_call(struct containerd_client *c, const char *method, const ProtobufCMessage *request,
			   const ProtobufCMessageDescriptor *reply_type, ProtobufCMessage **reply,
			   unsigned timeout_ms, struct err *e)
{
	grpc_byte_buffer *bytes = NULL;
	int r = call(c, method, request, &bytes, timeout_ms, e);

	if (r == 0 && !bytes)
		r = err_set(e, -EREMOTEIO, "containerd answered %s with nothing", method);
	if (r == 0 && reply)
		r = decode(bytes, reply_type, reply, e);
	if (bytes)
		grpc_byte_buffer_destroy(bytes);
	return r;
}

int containerd_client_stream(struct containerd_client *c, const char *method, const ProtobufCMessage *request,
			     unsigned timeout_ms, struct err *e)
{
	grpc_byte_buffer *first = NULL;
	int r = call(c, method, request, &first, timeout_ms, e);

	if (first)
		grpc_byte_buffer_destroy(first);
	return r;
}
