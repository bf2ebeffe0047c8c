/* SPDX-License-Identifier: Apache-2.0
 * Connections are accepted here, so that who may connect is decided before core sees a byte; core moves the
 * bytes while a thread waits in its queue; stopping follows the order that core wants. */
#include "snapshotter/rpc_internal.h"

#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "snapshotter/text.h"

#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define MAX_METADATA 16384
#define MAX_STREAMS 128

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
		rpc_event(tag, event.success);
	}
}

/* ---- Connections ---- */

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

/* ---- Start and stop ---- */

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
		rpc_request_next(s, &s->options.methods[i]);
	rpc_request_next(s, NULL);
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
		rpc_server_stop(s, 0, NULL, NULL);
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

static void stop_core(struct rpc_server *s, unsigned grace_ms, void (*hurry)(void *arg), void *arg)
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
		if (hurry)
			hurry(arg);
		(void)wait_stopped(s, NULL);
	}
}

void rpc_server_stop(struct rpc_server *s, unsigned grace_ms, void (*hurry)(void *arg), void *arg)
{
	if (!s)
		return;
	if (s->accepting) {
		(void)eventfd_write(s->stop_event, 1);
		(void)pthread_join(s->acceptor, NULL);
	}
	if (s->core)
		stop_core(s, grace_ms, hurry, arg);
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
