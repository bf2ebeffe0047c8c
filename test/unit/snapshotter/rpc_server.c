/* SPDX-License-Identifier: Apache-2.0
 * The server under a client of the same core: statuses, streams, what is not there, what is too much, and
 * stopping while calls run. */
#include "snapshotter/rpc_server.h"
#include "snapshotter/unix_listener.h"

#include "proto/containerd/snapshots.pb-c.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SERVICE "/test.Service/"

static struct rpc_server *server;
static struct unix_listener listener;
static atomic_int running, cancelled, finished, named;

typedef Containerd__Services__Snapshots__V1__StatSnapshotRequest request_message;

static const ProtobufCMessageDescriptor *const request_type =
	&containerd__services__snapshots__v1__stat_snapshot_request__descriptor;

/* Answers `n` copies of the request's key; what the key is decides about the rest. */
static int handle(void *arg, struct rpc *call, struct err *e)
{
	ProtobufCMessage *m;
	const request_message *request;
	int r = rpc_request(call, request_type, &m, e), n = *(int *)arg;

	rpc_name(call, "test");
	if (r < 0)
		return r;
	request = (const request_message *)m;
	if (strcmp(request->key, "missing") == 0)
		return err_set(e, -ENOENT, "caf\u00e9: %s is not there", request->key);
	if (strcmp(request->key, "silent") == 0)
		return -EBUSY;
	if (strcmp(request->key, "odd") == 0)
		return err_set(e, -EXDEV, "odd");
	if (strcmp(request->key, "wait") == 0) {
		(void)atomic_fetch_add(&running, 1);
		for (int i = 0; i < 3000 && !rpc_is_cancelled(call); i++)
			(void)usleep(1000);
		if (rpc_is_cancelled(call))
			(void)atomic_fetch_add(&cancelled, 1);
		return 0;
	}
	if (strcmp(request->key, "short") == 0) {
		(void)atomic_fetch_add(&running, 1);
		(void)usleep(200000);
	}
	for (int i = 0; i < n; i++)
		if (rpc_answer(call, m) < 0)
			return -ENOMEM;
	return 0;
}

static int handle_many(void *arg, struct rpc *call, struct err *e)
{
	int n = 1000;

	(void)arg;
	return handle(&n, call, e);
}

static void count_finished(void *arg, const char *path, const char *name, int status)
{
	(void)arg;
	(void)path;
	(void)status;
	(void)atomic_fetch_add(&named, strcmp(name, "test") == 0);
	(void)atomic_fetch_add(&finished, 1);
}

static const struct rpc_method methods[] = {{SERVICE "One", handle}, {SERVICE "Many", handle_many}};

static void start(unsigned workers, unsigned max_waiting)
{
	static int one = 1;
	struct rpc_server_options options = {.methods = methods,
					     .n_methods = 2,
					     .arg = &one,
					     .workers = workers,
					     .max_waiting = max_waiting,
					     .max_request = 65536,
					     .memory_budget = 1u << 18,
					     .finished = count_finished};
	struct err e = {""};

	cr_assert_eq(unix_listener_open(&listener, scratch_path("s"), 0600, &e), 0, "%s", e.text);
	cr_assert_eq(rpc_server_start(&server, &options, listener.fd, &e), 0, "%s", e.text);
	listener.fd = -1;
}

static void setup(void)
{
	scratch_open();
	start(4, 64);
}

static void teardown(void)
{
	rpc_server_stop(server, 1000, NULL, NULL);
	unix_listener_close(&listener);
	scratch_close();
}

TestSuite(rpc_server, .init = setup, .fini = teardown, .timeout = 60);

/* ---- The client ---- */

struct client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
};

struct answer {
	int status;
	size_t n_messages, bytes;
	char words[256];
};

static void client_open(struct client *c)
{
	char target[PATH_MAX];
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();

	grpc_init();
	(void)snprintf(target, sizeof(target), "unix://%s", scratch_path("s"));
	c->channel = grpc_channel_create(target, credentials, NULL);
	c->queue = grpc_completion_queue_create_for_pluck(NULL);
	grpc_channel_credentials_release(credentials);
}

static void client_close(struct client *c)
{
	grpc_channel_destroy(c->channel);
	grpc_completion_queue_shutdown(c->queue);
	grpc_completion_queue_destroy(c->queue);
	grpc_shutdown_blocking();
}

static bool run(struct client *c, grpc_call *call, const grpc_op *ops, size_t n)
{
	int tag;

	cr_assert_eq(grpc_call_start_batch(call, ops, n, &tag, NULL), GRPC_CALL_OK);
	return grpc_completion_queue_pluck(c->queue, &tag, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).success;
}

static void receive(struct client *c, grpc_call *call, struct answer *a)
{
	grpc_status_code status;
	grpc_slice details;
	grpc_metadata_array trailing;
	grpc_op op;

	for (;;) {
		grpc_byte_buffer *message = NULL;

		memset(&op, 0, sizeof(op));
		op.op = GRPC_OP_RECV_MESSAGE;
		op.data.recv_message.recv_message = &message;
		if (!run(c, call, &op, 1) || !message)
			break;
		a->n_messages++;
		a->bytes += grpc_byte_buffer_length(message);
		grpc_byte_buffer_destroy(message);
	}
	grpc_metadata_array_init(&trailing);
	memset(&op, 0, sizeof(op));
	op.op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	op.data.recv_status_on_client.trailing_metadata = &trailing;
	op.data.recv_status_on_client.status = &status;
	op.data.recv_status_on_client.status_details = &details;
	(void)run(c, call, &op, 1);
	a->status = (int)status;
	(void)snprintf(a->words, sizeof(a->words), "%.*s", (int)GRPC_SLICE_LENGTH(details),
		       (const char *)GRPC_SLICE_START_PTR(details));
	grpc_slice_unref(details);
	grpc_metadata_array_destroy(&trailing);
}

/* One call with these request bytes, given up after timeout_ms. */
static struct answer call_bytes(struct client *c, const char *method, const void *bytes, size_t n,
				int timeout_ms)
{
	struct answer a = {.status = -1};
	grpc_slice slice = grpc_slice_from_copied_buffer(bytes, n);
	grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_metadata_array initial;
	grpc_slice name = grpc_slice_from_copied_string(method);
	grpc_call *call = grpc_channel_create_call(
		c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue, name, NULL,
		gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN)),
		NULL);
	grpc_op ops[4];

	grpc_metadata_array_init(&initial);
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = request;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
	(void)run(c, call, ops, 4);
	receive(c, call, &a);
	grpc_metadata_array_destroy(&initial);
	grpc_call_unref(call);
	grpc_slice_unref(name);
	grpc_byte_buffer_destroy(request);
	grpc_slice_unref(slice);
	return a;
}

static struct answer call_key(struct client *c, const char *method, const char *key, int timeout_ms)
{
	uint8_t bytes[256];
	request_message m;
	char copy[128];

	containerd__services__snapshots__v1__stat_snapshot_request__init(&m);
	(void)snprintf(copy, sizeof(copy), "%s", key);
	m.key = copy;
	return call_bytes(c, method, bytes, protobuf_c_message_pack(&m.base, bytes), timeout_ms);
}

/* ---- Tests ---- */

Test(rpc_server, answers_and_says_why_not)
{
	struct client c;
	struct answer a;

	client_open(&c);
	a = call_key(&c, SERVICE "One", "hello", 5000);
	cr_assert_eq(a.status, GRPC_STATUS_OK, "%s", a.words);
	cr_assert_eq(a.n_messages, 1);
	a = call_key(&c, SERVICE "One", "missing", 5000);
	cr_assert_eq(a.status, GRPC_STATUS_NOT_FOUND);
	cr_assert_not_null(strstr(a.words, "missing is not there"), "%s", a.words);
	cr_assert_eq(a.n_messages, 0);
	a = call_key(&c, SERVICE "One", "silent", 5000);
	cr_assert_eq(a.status, GRPC_STATUS_FAILED_PRECONDITION);
	cr_assert(strlen(a.words) > 0);
	a = call_key(&c, SERVICE "One", "odd", 5000);
	cr_assert_eq(a.status, GRPC_STATUS_INTERNAL);
	client_close(&c);
	cr_assert_eq(atomic_load(&finished), 4);
	cr_assert_eq(atomic_load(&named), 4);
}

Test(rpc_server, streams_in_order_to_the_end)
{
	struct client c;
	struct answer a;

	client_open(&c);
	a = call_key(&c, SERVICE "Many", "0123456789", 20000);
	cr_assert_eq(a.status, GRPC_STATUS_OK, "%s", a.words);
	cr_assert_eq(a.n_messages, 1000);
	client_close(&c);
}

Test(rpc_server, methods_that_are_not_there_fail_at_once)
{
	struct client c;

	client_open(&c);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(call_key(&c, "/other.Service/Method", "x", 5000).status,
			     GRPC_STATUS_UNIMPLEMENTED);
	client_close(&c);
}

Test(rpc_server, refuses_junk_and_too_much)
{
	static char big[1 << 17];
	struct client c;

	client_open(&c);
	cr_assert_eq(call_bytes(&c, SERVICE "One", "\x12\x05k", 3, 5000).status,
		     GRPC_STATUS_INVALID_ARGUMENT);
	cr_assert_eq(call_bytes(&c, SERVICE "One", "\x12\x01\x80", 3, 5000).status,
		     GRPC_STATUS_INVALID_ARGUMENT);
	cr_assert_eq(call_bytes(&c, SERVICE "One", big, sizeof(big), 5000).status,
		     GRPC_STATUS_RESOURCE_EXHAUSTED);
	/* 60,000 bytes of unknown fields: fifty times that in memory */
	for (size_t i = 0; i < 60000; i += 2)
		memcpy(big + i, "\x78\x00", 2);
	cr_assert_eq(call_bytes(&c, SERVICE "One", big, 60000, 5000).status, GRPC_STATUS_RESOURCE_EXHAUSTED);
	cr_assert_eq(call_key(&c, SERVICE "One", "still here", 5000).status, GRPC_STATUS_OK);
	client_close(&c);
}

Test(rpc_server, a_handler_sees_that_its_caller_has_gone)
{
	struct client c;

	client_open(&c);
	cr_assert_eq(call_key(&c, SERVICE "One", "wait", 100).status, GRPC_STATUS_DEADLINE_EXCEEDED);
	for (int i = 0; i < 1000 && atomic_load(&cancelled) == 0; i++)
		(void)usleep(1000);
	cr_assert_eq(atomic_load(&cancelled), 1);
	client_close(&c);
}

struct caller {
	pthread_t thread;
	const char *key;
	int timeout_ms;
	struct answer answer;
};

static void *call_from_thread(void *arg)
{
	struct caller *x = arg;
	struct client c;

	client_open(&c);
	x->answer = call_key(&c, SERVICE "One", x->key, x->timeout_ms);
	client_close(&c);
	return NULL;
}

Test(rpc_server, more_than_it_can_queue_is_refused_at_once)
{
	struct caller callers[12];
	size_t refused = 0;

	rpc_server_stop(server, 0, NULL, NULL);
	unix_listener_close(&listener);
	start(1, 2);
	for (size_t i = 0; i < 12; i++) {
		callers[i] = (struct caller){.key = "short", .timeout_ms = 20000};
		cr_assert_eq(pthread_create(&callers[i].thread, NULL, call_from_thread, &callers[i]), 0);
	}
	for (size_t i = 0; i < 12; i++) {
		(void)pthread_join(callers[i].thread, NULL);
		if (callers[i].answer.status == GRPC_STATUS_RESOURCE_EXHAUSTED)
			refused++;
		else
			cr_assert_eq(callers[i].answer.status, GRPC_STATUS_OK, "%s", callers[i].answer.words);
	}
	cr_assert(refused > 0 && refused < 12, "%zu", refused);
}

Test(rpc_server, a_stop_lets_running_calls_end)
{
	struct caller x = {.key = "short", .timeout_ms = 20000};

	cr_assert_eq(pthread_create(&x.thread, NULL, call_from_thread, &x), 0);
	while (atomic_load(&running) == 0)
		(void)usleep(1000);
	rpc_server_stop(server, 5000, NULL, NULL);
	server = NULL;
	(void)pthread_join(x.thread, NULL);
	cr_assert_eq(x.answer.status, GRPC_STATUS_OK, "%s", x.answer.words);
}

static void count_hurry(void *arg)
{
	++*(int *)arg;
}

Test(rpc_server, a_stop_ends_calls_after_its_grace)
{
	int hurried = 0;
	struct caller x = {.key = "wait", .timeout_ms = 20000};

	cr_assert_eq(pthread_create(&x.thread, NULL, call_from_thread, &x), 0);
	while (atomic_load(&running) == 0)
		(void)usleep(1000);
	rpc_server_stop(server, 100, count_hurry, &hurried);
	cr_assert_eq(hurried, 1);
	server = NULL;
	(void)pthread_join(x.thread, NULL);
	cr_assert_neq(x.answer.status, GRPC_STATUS_OK);
	cr_assert_eq(atomic_load(&cancelled), 1);
}

Test(rpc_server, a_second_daemon_does_not_take_the_socket)
{
	struct unix_listener other;
	struct err e = {""};
	struct stat st;

	cr_assert_eq(stat(scratch_path("s"), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(unix_listener_open(&other, scratch_path("s"), 0600, &e), -EADDRINUSE);
	cr_assert_eq(access(scratch_path("s"), F_OK), 0);
	cr_assert_eq(unix_listener_open(&other, "relative", 0600, &e), -EINVAL);
}

Test(unix_listener, replaces_a_stale_socket_and_nothing_else, .init = scratch_open, .fini = scratch_close)
{
	struct unix_listener l;
	FILE *f;

	cr_assert_eq(unix_listener_open(&l, scratch_path("deep/down/s"), 0660, NULL), 0);
	free(l.path); /* as if it had died: the file stays */
	l.path = NULL;
	unix_listener_close(&l);
	cr_assert_eq(access(scratch_path("deep/down/s"), F_OK), 0);
	cr_assert_eq(unix_listener_open(&l, scratch_path("deep/down/s"), 0660, NULL), 0);
	unix_listener_close(&l);
	cr_assert_eq(access(scratch_path("deep/down/s"), F_OK), -1);

	f = fopen(scratch_path("file"), "w");
	(void)fclose(f);
	cr_assert_eq(unix_listener_open(&l, scratch_path("file"), 0600, NULL), -EEXIST);
	cr_assert_eq(access(scratch_path("file"), F_OK), 0);
}
