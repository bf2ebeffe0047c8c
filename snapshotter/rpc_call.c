/* SPDX-License-Identifier: Apache-2.0
 * One heap object for each call, counted by the batches that core has in hand. Its life: NEW (core found a
 * caller) → queued for a worker → the handler leaves answers → SENT for each of them, the last with the
 * status; CLOSED comes beside that when the caller is done or gone. A stream's answers are sent one after
 * another from the pollers, so a slow reader holds no worker. */
#include "snapshotter/rpc_internal.h"

#include "proto/base/log.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>
#include <string.h>

#ifdef COCOON_TSAN
atomic_uint tsan_fence;
#endif

static const struct {
	int error, status;
} statuses[] = {
	{0, GRPC_STATUS_OK},
	{-EINVAL, GRPC_STATUS_INVALID_ARGUMENT},
	{-ENAMETOOLONG, GRPC_STATUS_INVALID_ARGUMENT},
	{-ENOENT, GRPC_STATUS_NOT_FOUND},
	{-EEXIST, GRPC_STATUS_ALREADY_EXISTS},
	{-EBUSY, GRPC_STATUS_FAILED_PRECONDITION},
	{-ENOKEY, GRPC_STATUS_FAILED_PRECONDITION},
	{-EACCES, GRPC_STATUS_PERMISSION_DENIED},
	{-EPERM, GRPC_STATUS_PERMISSION_DENIED},
	{-E2BIG, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{-ENOMEM, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{-ENOSPC, GRPC_STATUS_RESOURCE_EXHAUSTED},
	{-ETIMEDOUT, GRPC_STATUS_DEADLINE_EXCEEDED},
	{-EAGAIN, GRPC_STATUS_UNAVAILABLE},
	{-ECANCELED, GRPC_STATUS_CANCELLED},
	{-ENOTSUP, GRPC_STATUS_UNIMPLEMENTED},
	{-ENOSYS, GRPC_STATUS_UNIMPLEMENTED},
	{-EBADMSG, GRPC_STATUS_DATA_LOSS},
	{-EUCLEAN, GRPC_STATUS_DATA_LOSS},
};

static int status_of(int error)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (statuses[i].error == error)
			return statuses[i].status;
	return GRPC_STATUS_INTERNAL;
}

/* The life of a call
 * ---------------------------------------------------------------------------------------------------
 */

static void unref(struct rpc *c)
{
	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	for (size_t i = 0; i < c->n_answers; i++)
		grpc_byte_buffer_destroy(c->answers[i]);
	free(c->answers);
	if (c->request)
		grpc_byte_buffer_destroy(c->request);
	grpc_metadata_array_destroy(&c->metadata);
	grpc_call_details_destroy(&c->details);
	if (c->call)
		grpc_call_unref(c->call);
	arena_deinit(&c->arena);
	free(c);
}

/* Ask core for the next call of this method. Without memory the method is not served until the next try: none
 * comes, so it is told. */
void rpc_request_next(struct rpc_server *s, const struct rpc_method *method)
{
	struct rpc *c = calloc(1, sizeof(*c));
	grpc_call_error r;

	if (!c) {
		log_error("no memory for calls of %s", method ? method->path : "unknown methods");
		return;
	}
	c->server = s;
	c->method = method;
	for (int i = NEW; i <= SENT; i++)
		c->tags[i] = (struct tag){(enum event)i, c};
	atomic_init(&c->refs, 1);
	arena_init(&c->arena, s->options.memory_budget);
	grpc_metadata_array_init(&c->metadata);
	grpc_call_details_init(&c->details);
	SHOW_ORDER();
	if (method)
		r = grpc_server_request_registered_call(s->core, s->registered[method - s->options.methods],
							&c->call, &c->deadline, &c->metadata, &c->request,
							s->queue, s->queue, &c->tags[NEW]);
	else
		r = grpc_server_request_call(s->core, &c->call, &c->details, &c->metadata, s->queue, s->queue,
					     &c->tags[NEW]);
	if (r != GRPC_CALL_OK) {
		log_error("grpc takes no calls of %s: %s", method ? method->path : "unknown methods",
			  grpc_call_error_to_string(r));
		unref(c);
	}
}

static void start_batch(struct rpc *c, const grpc_op *ops, size_t n, enum event event)
{
	grpc_call_error r;

	(void)atomic_fetch_add(&c->refs, 1);
	SHOW_ORDER();
	r = grpc_call_start_batch(c->call, ops, n, &c->tags[event], NULL);
	if (r != GRPC_CALL_OK) {
		log_error("grpc batch: %s", grpc_call_error_to_string(r));
		unref(c);
	}
}

static void watch_close(struct rpc *c)
{
	grpc_op op;

	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	op.data.recv_close_on_server.cancelled = &c->cancelled_by_core;
	start_batch(c, &op, 1, CLOSED);
}

/* The next piece of the answer: initial metadata before the first message, the status after the last. */
static void send_next(struct rpc *c)
{
	grpc_slice words = grpc_empty_slice();
	grpc_op ops[3];
	size_t n = 0;

	memset(ops, 0, sizeof(ops));
	if (c->n_sent == 0)
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (c->n_sent < c->n_answers) {
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = c->answers[c->n_sent];
	}
	c->n_sent++;
	if (c->n_sent >= c->n_answers) {
		if (c->status != GRPC_STATUS_OK)
			words = grpc_slice_from_copied_string(c->words.text);
		ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
		ops[n].data.send_status_from_server.status = (grpc_status_code)c->status;
		ops[n++].data.send_status_from_server.status_details = &words;
	}
	start_batch(c, ops, n, SENT);
	grpc_slice_unref(words);
}

/* The answer is complete: an error goes without messages. */
static void finish(struct rpc *c, int error)
{
	struct rpc_server *s = c->server;

	c->status = status_of(error);
	if (error < 0) {
		for (size_t i = 0; i < c->n_answers; i++)
			grpc_byte_buffer_destroy(c->answers[i]);
		c->n_answers = 0;
	}
	if (error < 0 && !c->words.text[0])
		(void)err_errno(&c->words, error, "%s", c->method ? c->method->path : "call");
	if (s->options.finished)
		s->options.finished(s->options.finished_arg, c->method ? c->method->path : "",
				    c->name ? c->name : "", c->status);
	send_next(c);
}

static void serve(struct job *job)
{
	struct rpc *c = (struct rpc *)((char *)job - offsetof(struct rpc, job));
	int r = c->method->handler(c->server->options.arg, c, &c->words);

	finish(c, r);
	unref(c);
}

static void begin(struct rpc *c)
{
	struct rpc_server *s = c->server;

	rpc_request_next(s, c->method);
	watch_close(c);
	if (!c->method) {
		finish(c, err_set(&c->words, -ENOSYS, "there is no such method"));
		return;
	}
	(void)atomic_fetch_add(&c->refs, 1); /* the worker's */
	c->job.run = serve;
	if (worker_pool_submit(s->workers, &c->job) < 0) {
		finish(c, err_set(&c->words, -E2BIG, "too many calls at once"));
		unref(c);
	}
}

void rpc_event(struct tag *tag, bool success)
{
	struct rpc *c = tag->call;

	switch (tag->event) {
	case NEW:
		if (success)
			begin(c);
		break;
	case CLOSED:
		if (c->cancelled_by_core)
			atomic_store(&c->cancelled, true);
		break;
	case SENT:
		if (success && c->n_sent < c->n_answers)
			send_next(c);
		break;
	}
	unref(c);
}

/* ---- For handlers ---- */

int rpc_request(struct rpc *c, const ProtobufCMessageDescriptor *type, ProtobufCMessage **out, struct err *e)
{
	grpc_byte_buffer_reader reader;
	grpc_slice bytes;
	int r;

	if (!c->request)
		return err_set(e, -EINVAL, "a call without a request");
	if (!grpc_byte_buffer_reader_init(&reader, c->request))
		return err_set(e, -EINVAL, "a request that cannot be read");
	bytes = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	r = message_decode(out, type, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes), &c->arena, e);
	grpc_slice_unref(bytes);
	return r;
}

int rpc_answer(struct rpc *c, const ProtobufCMessage *message)
{
	grpc_byte_buffer **grown = reallocarray(c->answers, c->n_answers + 1, sizeof(grpc_byte_buffer *));
	grpc_slice bytes;

	if (!grown)
		return -ENOMEM;
	c->answers = grown;
	bytes = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	(void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(bytes));
	grown[c->n_answers++] = grpc_raw_byte_buffer_create(&bytes, 1);
	grpc_slice_unref(bytes);
	return 0;
}

void rpc_name(struct rpc *c, const char *name)
{
	c->name = name;
}

bool rpc_is_cancelled(const struct rpc *c)
{
	return atomic_load(&c->cancelled);
}
