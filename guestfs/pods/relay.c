/* SPDX-License-Identifier: Apache-2.0
 * A thread accepts; for each of the agent's connections one reads what the agent says, and one what CDH says,
 * once there was something for it. Frames go to the agent one at a time, whoever writes them. */
#include "guestfs/pods/relay.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct connection {
	LIST_ENTRY(connection) entry; /* the relay's lock guards it */
	struct relay *relay;
	int agent;
	pthread_t agent_thread;
	bool ended; /* the relay's lock; the agent's thread is done and can be joined */

	/* the agent's thread's own */
	bool has_cdh_thread;
	pthread_t cdh_thread;

	pthread_mutex_t lock;		 /* guards what follows, and keeps frames to the agent whole */
	int cdh;			 /* -1: no connection, or one that broke */
	uint32_t streams[RELAY_STREAMS]; /* CDH owes an answer to these */
	size_t n_streams;
	unsigned int n_calls; /* threads of the own method */
	pthread_cond_t no_calls;
};

struct relay {
	struct relay_options options;
	int listener, wake;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows; taken before a connection's */
	LIST_HEAD(, connection) connections;
	unsigned int n_connections, n_calls;
};

/* A message as it came. */
struct frame {
	struct ttrpc_header header;
	uint8_t *payload; /* owned */
};

static void frame_deinit(struct frame *f)
{
	free(f->payload);
	f->payload = NULL;
}

static int skip(int fd, uint32_t n)
{
	uint8_t scrap[4096];
	int r = 0;

	while (r == 0 && n > 0) {
		uint32_t part = n < sizeof(scrap) ? n : (uint32_t)sizeof(scrap);

		r = read_full(fd, scrap, part);
		n -= part;
	}
	return r;
}

/* -E2BIG for a message that was skipped; anything else negative ends the connection. */
static int frame_read(int fd, struct frame *out)
{
	uint8_t raw[TTRPC_HEADER_SIZE];
	int r = read_full(fd, raw, sizeof(raw));

	if (r == 0)
		r = ttrpc_header_decode(&out->header, raw, NULL);
	if (r == -E2BIG) {
		r = skip(fd, out->header.size);
		return r < 0 ? r : -E2BIG;
	}
	if (r < 0)
		return r;
	out->payload = malloc(out->header.size + 1);
	if (!out->payload)
		return -ENOMEM;
	r = read_full(fd, out->payload, out->header.size);
	if (r < 0)
		frame_deinit(out);
	return r;
}

static int frame_write(int fd, const struct ttrpc_header *h, const void *payload)
{
	uint8_t raw[TTRPC_HEADER_SIZE];
	int r;

	ttrpc_header_encode(h, raw);
	r = write_full(fd, raw, sizeof(raw));
	return r < 0 ? r : write_full(fd, payload, h->size);
}

/* With the lock held. A failure is met again by who reads from the agent. */
static void answer_locked(struct connection *c, uint32_t stream, const struct ttrpc_response *response)
{
	struct ttrpc_header h = {.stream = stream, .type = TTRPC_RESPONSE};
	cleanup_buf struct buf b;

	buf_init(&b, TTRPC_MAX_DATA);
	ttrpc_response_encode(&b, response);
	h.size = (uint32_t)b.size;
	if (buf_failed(&b) || frame_write(c->agent, &h, b.data) < 0)
		(void)shutdown(c->agent, SHUT_RDWR);
}

static void refuse_locked(struct connection *c, uint32_t stream, enum ttrpc_code code, const char *words)
{
	struct ttrpc_response response = {.code = code};

	(void)snprintf(response.words, sizeof(response.words), "%s", words);
	answer_locked(c, stream, &response);
}

static void refuse(struct connection *c, uint32_t stream, enum ttrpc_code code, const char *words)
{
	pthread_mutex_lock(&c->lock);
	refuse_locked(c, stream, code, words);
	pthread_mutex_unlock(&c->lock);
}

/* ---- CDH ---- */

/* With the lock held: does CDH owe this stream an answer? Then not any more, if it is the last. */
static bool owed_locked(struct connection *c, uint32_t stream, bool last)
{
	for (size_t i = 0; i < c->n_streams; i++) {
		if (c->streams[i] != stream)
			continue;
		if (last)
			c->streams[i] = c->streams[--c->n_streams];
		return true;
	}
	return false;
}

static void *cdh_thread(void *arg)
{
	struct connection *c = arg;
	struct frame f = {0};

	while (frame_read(c->cdh, &f) == 0) {
		pthread_mutex_lock(&c->lock);
		if (f.header.type != TTRPC_REQUEST &&
		    owed_locked(c, f.header.stream, f.header.type == TTRPC_RESPONSE) &&
		    frame_write(c->agent, &f.header, f.payload) < 0)
			(void)shutdown(c->agent, SHUT_RDWR);
		pthread_mutex_unlock(&c->lock);
		frame_deinit(&f);
	}
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n_streams; i++)
		refuse_locked(c, c->streams[i], TTRPC_UNAVAILABLE, "the Confidential Data Hub has ended");
	c->n_streams = 0;
	(void)close(c->cdh);
	c->cdh = -1;
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* In the agent's thread: a connection to CDH that is believed to work. */
static int cdh_connect(struct connection *c)
{
	const struct address *a = c->relay->options.cdh;
	cleanup_close int fd = -1;
	bool connected;

	pthread_mutex_lock(&c->lock);
	connected = c->cdh >= 0;
	pthread_mutex_unlock(&c->lock);
	if (connected)
		return 0;
	if (c->has_cdh_thread)
		pthread_join(c->cdh_thread, NULL);
	c->has_cdh_thread = false;
	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &a->sa, a->size) < 0)
		return -errno;
	c->cdh = take_fd(&fd); /* nobody else looks at it without a thread */
	if (pthread_create(&c->cdh_thread, NULL, cdh_thread, c) != 0) {
		(void)close(c->cdh);
		c->cdh = -1;
		return -EAGAIN;
	}
	c->has_cdh_thread = true;
	return 0;
}

/* What is not ours goes on as it came. */
static void hand_on(struct connection *c, const struct frame *f)
{
	int fd = -1;

	if (!c->relay->options.cdh) {
		refuse(c, f->header.stream, TTRPC_UNIMPLEMENTED, "there is no Confidential Data Hub here");
		return;
	}
	if (cdh_connect(c) < 0) {
		refuse(c, f->header.stream, TTRPC_UNAVAILABLE, "the Confidential Data Hub is away");
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (f->header.type == TTRPC_REQUEST && c->n_streams == RELAY_STREAMS) {
		refuse_locked(c, f->header.stream, TTRPC_RESOURCE_EXHAUSTED, "too many calls are under way");
	} else if (c->cdh >= 0) {
		fd = dup(c->cdh); /* its thread may close it meanwhile */
		if (f->header.type == TTRPC_REQUEST)
			c->streams[c->n_streams++] = f->header.stream;
	} else {
		refuse_locked(c, f->header.stream, TTRPC_UNAVAILABLE, "the Confidential Data Hub has ended");
	}
	pthread_mutex_unlock(&c->lock);
	if (fd >= 0 && frame_write(fd, &f->header, f->payload) < 0)
		(void)shutdown(fd, SHUT_RDWR); /* its thread tells everyone who waits */
	if (fd >= 0)
		(void)close(fd);
}

/* ---- The own method ---- */

struct call {
	struct connection *connection;
	uint32_t stream;
	struct frame frame;	      /* owned */
	struct ttrpc_request request; /* borrows from the frame */
};

static enum ttrpc_code code_of(int r)
{
	switch (-r) {
	case EINVAL:
		return TTRPC_INVALID_ARGUMENT;
	case EACCES:
	case ENOKEY:
		return TTRPC_PERMISSION_DENIED;
	case ENOENT:
		return TTRPC_NOT_FOUND;
	case EEXIST:
		return TTRPC_ALREADY_EXISTS;
	case ETIMEDOUT:
		return TTRPC_DEADLINE_EXCEEDED;
	case ENOMEM:
		return TTRPC_RESOURCE_EXHAUSTED;
	default:
		return TTRPC_INTERNAL;
	}
}

static void *call_thread(void *arg)
{
	struct call *call = arg;
	struct connection *c = call->connection;
	struct relay *relay = c->relay;
	struct ttrpc_response response = {.payload = bytes_of(NULL, 0)};
	struct err e = {""};
	cleanup_buf struct buf reply;
	int r;

	buf_init(&reply, TTRPC_MAX_DATA / 2);
	r = relay->options.call(relay->options.arg, &call->request, &reply, &e);
	response.code = r < 0 ? code_of(r) : TTRPC_OK;
	response.payload = bytes_of(reply.data, reply.size);
	memcpy(response.words, e.text, sizeof(response.words));
	pthread_mutex_lock(&relay->lock);
	relay->n_calls--;
	pthread_mutex_unlock(&relay->lock);
	pthread_mutex_lock(&c->lock);
	answer_locked(c, call->stream, &response);
	if (--c->n_calls == 0)
		pthread_cond_signal(&c->no_calls);
	pthread_mutex_unlock(&c->lock); /* the connection may be gone after this */
	frame_deinit(&call->frame);
	free(call);
	return NULL;
}

/* Takes the frame over, unless it fails. */
static int start_call(struct connection *c, struct frame *f, const struct ttrpc_request *request)
{
	struct call *call = calloc(1, sizeof(*call));
	pthread_attr_t attributes;
	pthread_t thread;
	int r = call ? 0 : -ENOMEM;

	pthread_mutex_lock(&c->relay->lock);
	if (r == 0 && c->relay->n_calls == RELAY_CALLS)
		r = -EBUSY;
	if (r == 0)
		c->relay->n_calls++;
	pthread_mutex_unlock(&c->relay->lock);
	if (r < 0) {
		free(call);
		return r;
	}
	*call = (struct call){c, f->header.stream, *f, *request};
	pthread_mutex_lock(&c->lock);
	c->n_calls++;
	pthread_mutex_unlock(&c->lock);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = -pthread_create(&thread, &attributes, call_thread, call);
	(void)pthread_attr_destroy(&attributes);
	if (r < 0) {
		pthread_mutex_lock(&c->relay->lock);
		c->relay->n_calls--;
		pthread_mutex_unlock(&c->relay->lock);
		pthread_mutex_lock(&c->lock);
		c->n_calls--;
		pthread_mutex_unlock(&c->lock);
		free(call);
		return r;
	}
	f->payload = NULL;
	return 0;
}

/* ---- The agent ---- */

static void take_request(struct connection *c, struct frame *f)
{
	const struct relay_options *o = &c->relay->options;
	struct ttrpc_request q;
	struct err e = {""};

	if (ttrpc_request_decode(&q, f->payload, f->header.size, &e) < 0) {
		refuse(c, f->header.stream, TTRPC_INVALID_ARGUMENT, e.text);
		return;
	}
	if (strcmp(q.service, o->service) != 0 || strcmp(q.method, o->method) != 0)
		hand_on(c, f);
	else if (start_call(c, f, &q) < 0)
		refuse(c, f->header.stream, TTRPC_RESOURCE_EXHAUSTED, "too many calls are under way");
}

/* Everything that was said for this connection has an end. */
static void finish(struct connection *c)
{
	(void)shutdown(c->agent, SHUT_RDWR);
	pthread_mutex_lock(&c->lock);
	if (c->cdh >= 0)
		(void)shutdown(c->cdh, SHUT_RDWR);
	while (c->n_calls > 0)
		pthread_cond_wait(&c->no_calls, &c->lock);
	pthread_mutex_unlock(&c->lock);
	if (c->has_cdh_thread)
		pthread_join(c->cdh_thread, NULL);
}

static void *agent_thread(void *arg)
{
	struct connection *c = arg;
	struct relay *r = c->relay;
	uint64_t one = 1;
	int status = 0;

	while (status == 0 || status == -E2BIG) {
		struct frame f = {0};

		status = frame_read(c->agent, &f);
		if (status == -E2BIG)
			refuse(c, f.header.stream, TTRPC_RESOURCE_EXHAUSTED, "the message is too large");
		else if (status == 0 && f.header.type == TTRPC_REQUEST)
			take_request(c, &f);
		else if (status == 0)
			hand_on(c, &f);
		frame_deinit(&f);
	}
	finish(c);
	pthread_mutex_lock(&r->lock);
	c->ended = true;
	pthread_mutex_unlock(&r->lock);
	(void)!write(r->wake, &one, sizeof(one)); /* to be joined */
	return NULL;
}

static void connection_free(struct connection *c)
{
	(void)close(c->agent);
	pthread_cond_destroy(&c->no_calls);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static void connection_start(struct relay *r, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return;
	}
	c->relay = r;
	c->agent = fd;
	c->cdh = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->no_calls, NULL);
	pthread_mutex_lock(&r->lock);
	if (r->n_connections < RELAY_CONNECTIONS &&
	    pthread_create(&c->agent_thread, NULL, agent_thread, c) == 0) {
		LIST_INSERT_HEAD(&r->connections, c, entry);
		r->n_connections++;
		c = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	if (c) {
		log_warn("an agent's connection is refused: too many");
		connection_free(c);
	}
}

/* Join and free the connections that have ended, or all of them. */
static void reap(struct relay *r, bool all)
{
	struct connection *c;

	do {
		pthread_mutex_lock(&r->lock);
		LIST_FOREACH(c, &r->connections, entry)
		if (c->ended || all)
			break;
		if (c) {
			LIST_REMOVE(c, entry);
			r->n_connections--;
			(void)shutdown(c->agent, SHUT_RDWR);
		}
		pthread_mutex_unlock(&r->lock);
		if (c) {
			pthread_join(c->agent_thread, NULL);
			connection_free(c);
		}
	} while (c);
}

/* What the wake counts up to when it is not a connection that has ended. */
#define STOP (UINT64_C(1) << 32)

static void *accept_thread(void *arg)
{
	struct relay *r = arg;
	struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN}, {.fd = r->wake, .events = POLLIN}};

	for (;;) {
		uint64_t woken = 0;
		int fd;

		(void)poll(p, 2, -1);
		if (p[1].revents && read(r->wake, &woken, sizeof(woken)) == sizeof(woken) && woken >= STOP)
			return NULL;
		reap(r, false);
		if (!(p[0].revents & POLLIN))
			continue;
		fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			connection_start(r, fd);
	}
}

int relay_start(struct relay **out, int listener, const struct relay_options *options, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	int code = r ? 0 : -ENOMEM;

	if (r) {
		r->options = *options;
		r->listener = listener;
		LIST_INIT(&r->connections);
		pthread_mutex_init(&r->lock, NULL);
		r->wake = eventfd(0, EFD_CLOEXEC);
		if (r->wake < 0)
			code = -errno;
		if (code == 0)
			code = -pthread_create(&r->thread, NULL, accept_thread, r);
	}
	if (code < 0) {
		if (r && r->wake >= 0)
			(void)close(r->wake);
		free(r);
		(void)close(listener);
		return err_errno(e, code, "starting the relay");
	}
	*out = r;
	return 0;
}

void relay_stop(struct relay *r)
{
	uint64_t stop = STOP;

	if (!r)
		return;
	(void)!write(r->wake, &stop, sizeof(stop));
	pthread_join(r->thread, NULL);
	reap(r, true);
	(void)close(r->listener);
	(void)close(r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
