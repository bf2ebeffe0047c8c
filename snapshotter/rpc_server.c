/* SPDX-License-Identifier: Apache-2.0
 * One heap object for each call, counted by the batches that core has in hand. Its life: NEW (core found a
 * caller) → queued for a worker → the handler leaves answers → SENT for each of them, the last with the
 * status; CLOSED comes beside that when the caller is done or gone. A stream's answers are sent one after
 * another from the pollers, so a slow reader holds no worker. */
#include "snapshotter/rpc_server.h"

#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "snapshotter/message.h"
#include "snapshotter/text.h"
#include "snapshotter/worker_pool.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define N_POLLERS 2
#define MAX_METADATA 16384
#define MAX_STREAMS 128

enum event { NEW, CLOSED, SENT };

struct tag {
	enum event event;
	struct rpc *call;
};

struct rpc {
	struct job job;
	struct rpc_server *server;
	const struct rpc_method *method; /* NULL: a method that is not there */
	struct tag tags[3];
	atomic_uint refs;      /* batches in hand, plus the worker */
	atomic_bool cancelled; /* set by CLOSED, read by handlers: a hint */
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	gpr_timespec deadline;
	grpc_byte_buffer *request;
	int cancelled_by_core;
	struct arena arena; /* of the decoded request */
	grpc_byte_buffer **answers;
	size_t n_answers, n_sent;
	int status;
	struct err words;
};

struct rpc_server {
	struct rpc_server_options options;
	grpc_server *core;
	grpc_completion_queue *queue;
	void **registered; /* one for each method */
	struct worker_pool *workers;
	pthread_t pollers[N_POLLERS], acceptor;
	unsigned n_pollers;
	bool accepting;
	int listener, stop_event;
	struct tag stopped;   /* the tag of shutdown; its address is what counts */
	pthread_mutex_t lock; /* guards has_stopped */
	pthread_cond_t wake;
	bool has_stopped;
};

/* Debian's core is not instrumented, so ThreadSanitizer does not see that an event happens after what was
 * handed to core. One atomic on both sides of the queue shows it; other builds do not have it. */
#if defined(__SANITIZE_THREAD__)
#define COCOON_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COCOON_TSAN 1
#endif
#endif
#ifdef COCOON_TSAN
static atomic_uint tsan_fence;
#define SHOW_ORDER() ((void)atomic_fetch_add(&tsan_fence, 1))
#else
#define SHOW_ORDER() ((void)0)
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

/* Calls ---------------------------------------------------------------------------------------------------
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
static void request_next(struct rpc_server *s, const struct rpc_method *method)
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
		s->options.finished(s->options.finished_arg, c->method ? c->method->path : "", c->status);
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

	request_next(s, c->method);
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

static void *poll_events(void *arg)
{
	struct rpc_server *s = arg;

	for (;;) {
		grpc_event event =
			grpc_completion_queue_next(s->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
		struct tag *tag = event.tag;

		SHOW_ORDER();
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (tag == &s->stopped) {
			(void)pthread_mutex_lock(&s->lock);
			s->has_stopped = true;
			(void)pthread_cond_broadcast(&s->wake);
			(void)pthread_mutex_unlock(&s->lock);
			continue;
		}
		switch (tag->event) {
		case NEW:
			if (event.success)
				begin(tag->call);
			break;
		case CLOSED:
			if (tag->call->cancelled_by_core)
				atomic_store(&tag->call->cancelled, true);
			break;
		case SENT:
			if (event.success && tag->call->n_sent < tag->call->n_answers)
				send_next(tag->call);
			break;
		}
		unref(tag->call);
	}
}

/* For handlers --------------------------------------------------------------------------------------------
 */

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
	grpc_byte_buffer **grown = reallocarray(c->answers, c->n_answers + 1, sizeof(*grown));
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

bool rpc_is_cancelled(const struct rpc *c)
{
	return atomic_load(&c->cancelled);
}

/* Connections ---------------------------------------------------------------------------------------------
 */

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	log_warn("connection refused pid=%d uid=%u", (int)peer.pid, (unsigned)peer.uid);
	return false;
}

static void *accept_connections(void *arg)
{
	struct rpc_server *s = arg;
	grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
	struct pollfd p[2] = {{.fd = s->listener, .events = POLLIN}, {.fd = s->stop_event, .events = POLLIN}};

	for (;;) {
		int fd;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			break;
		if (!p[0].revents)
			continue;
		fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			/* Out of descriptors: wait for some to be closed, rather than spin. */
			if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
				(void)poll(&p[1], 1, 100);
			continue;
		}
		if (is_allowed(fd))
			grpc_server_add_channel_from_fd(s->core, fd, credentials); /* owns fd */
		else
			(void)close(fd);
	}
	grpc_server_credentials_release(credentials);
	return NULL;
}

/* Start and stop ------------------------------------------------------------------------------------------
 */

static void log_grpc(gpr_log_func_args *args)
{
	log_warn("grpc: %s", args->message);
}

static void set_defaults(struct rpc_server_options *o)
{
	o->workers = o->workers ? o->workers : 16;
	o->max_waiting = o->max_waiting ? o->max_waiting : 512;
	o->max_request = o->max_request ? o->max_request : 1u << 20;
	o->memory_budget = o->memory_budget ? o->memory_budget : 4u << 20;
}

static grpc_arg integer_arg(const char *key, int value)
{
	grpc_arg a = {.type = GRPC_ARG_INTEGER, .key = text_for_reader(key)};

	a.value.integer = value;
	return a;
}

static int start_core(struct rpc_server *s, struct err *e)
{
	grpc_arg list[] = {
		integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)s->options.max_request),
		integer_arg(GRPC_ARG_MAX_METADATA_SIZE, MAX_METADATA),
		integer_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, MAX_STREAMS),
		integer_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
	};
	grpc_channel_args args = {sizeof(list) / sizeof(list[0]), list};

	gpr_set_log_function(log_grpc);
	gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
	grpc_init();
	s->core = grpc_server_create(&args, NULL);
	s->queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(s->core, s->queue, NULL);
	for (size_t i = 0; i < s->options.n_methods; i++) {
		s->registered[i] = grpc_server_register_method(s->core, s->options.methods[i].path, NULL,
							       GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
		if (!s->registered[i])
			return err_set(e, -EINVAL, "grpc does not take the method %s",
				       s->options.methods[i].path);
	}
	grpc_server_start(s->core);
	for (size_t i = 0; i < s->options.n_methods; i++)
		request_next(s, &s->options.methods[i]);
	request_next(s, NULL);
	return 0;
}

static int start_threads(struct rpc_server *s, struct err *e)
{
	int r = 0;

	for (; s->n_pollers < N_POLLERS && r == 0; s->n_pollers += r == 0)
		r = pthread_create(&s->pollers[s->n_pollers], NULL, poll_events, s);
	if (r == 0)
		r = pthread_create(&s->acceptor, NULL, accept_connections, s);
	if (r != 0)
		return err_errno(e, -r, "starting a thread");
	s->accepting = true;
	return 0;
}

int rpc_server_start(struct rpc_server **out, const struct rpc_server_options *options, int listener,
		     struct err *e)
{
	struct rpc_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		(void)close(listener);
		return -ENOMEM;
	}
	s->options = *options;
	set_defaults(&s->options);
	s->listener = listener;
	s->stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->registered = calloc(options->n_methods, sizeof(*s->registered));
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->wake, NULL);
	if (s->stop_event < 0 || !s->registered)
		r = err_set(e, -ENOMEM, "no memory for the server");
	else
		r = worker_pool_open(&s->workers, s->options.workers, s->options.max_waiting, e);
	if (r == 0)
		r = start_core(s, e);
	if (r == 0)
		r = start_threads(s, e);
	if (r < 0) {
		rpc_server_stop(s, 0);
		return r;
	}
	*out = s;
	return 0;
}

/* Wait for the tag of shutdown until `deadline` (NULL: for ever). */
static bool wait_stopped(struct rpc_server *s, const struct timespec *deadline)
{
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->has_stopped && r != ETIMEDOUT)
		r = deadline ? pthread_cond_timedwait(&s->wake, &s->lock, deadline)
			     : pthread_cond_wait(&s->wake, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
	return r != ETIMEDOUT;
}

static void stop_core(struct rpc_server *s, unsigned grace_ms)
{
	struct timespec deadline;

	(void)clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += grace_ms / 1000;
	deadline.tv_nsec += (long)(grace_ms % 1000) * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	SHOW_ORDER();
	grpc_server_shutdown_and_notify(s->core, s->queue, &s->stopped);
	if (s->n_pollers > 0 && !wait_stopped(s, &deadline)) {
		grpc_server_cancel_all_calls(s->core);
		(void)wait_stopped(s, NULL); /* handlers have deadlines of their own */
	}
}

void rpc_server_stop(struct rpc_server *s, unsigned grace_ms)
{
	if (!s)
		return;
	if (s->accepting) {
		(void)eventfd_write(s->stop_event, 1);
		(void)pthread_join(s->acceptor, NULL);
	}
	if (s->core)
		stop_core(s, grace_ms);
	worker_pool_close(s->workers);
	if (s->core) {
		grpc_completion_queue_shutdown(s->queue);
		if (s->n_pollers == 0)
			(void)poll_events(s); /* drain it here */
		for (unsigned i = 0; i < s->n_pollers; i++)
			(void)pthread_join(s->pollers[i], NULL);
		grpc_server_destroy(s->core);
		grpc_completion_queue_destroy(s->queue);
		grpc_shutdown_blocking();
	}
	(void)close(s->listener);
	if (s->stop_event >= 0)
		(void)close(s->stop_event);
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->registered);
	free(s);
}
