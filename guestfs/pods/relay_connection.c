/* SPDX-License-Identifier: Apache-2.0
 * A connection's thread reads what the caller says; a second one what comes back, once there was something
 * for the one behind. Frames go out one at a time in either direction, whoever writes them. */
#include "guestfs/pods/relay_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* With the lock held. A failure is met again by who reads from the caller. */
static void answer_locked(struct connection *c, uint32_t stream, const struct ttrpc_response *response)
{
	struct ttrpc_header h = {.stream = stream, .type = TTRPC_RESPONSE};
	cleanup_buf struct buf b;

	buf_init(&b, TTRPC_MAX_DATA);
	ttrpc_response_encode(&b, response);
	h.size = (uint32_t)b.size;
	if (buf_failed(&b) || ttrpc_frame_write(c->caller, &h, b.data) < 0)
		(void)shutdown(c->caller, SHUT_RDWR);
}

static void refuse_locked(struct connection *c, uint32_t stream, enum ttrpc_code code, const char *what)
{
	struct ttrpc_response response = {.code = code};

	if (c->relay->options.behind)
		(void)snprintf(response.words, sizeof(response.words), "%s %s", c->relay->options.name, what);
	else
		(void)snprintf(response.words, sizeof(response.words), "%s", what);
	answer_locked(c, stream, &response);
}

void connection_answer(struct connection *c, uint32_t stream, const struct ttrpc_response *response)
{
	pthread_mutex_lock(&c->lock);
	answer_locked(c, stream, response);
	pthread_mutex_unlock(&c->lock);
}

void connection_refuse(struct connection *c, uint32_t stream, enum ttrpc_code code, const char *words)
{
	struct ttrpc_response response = {.code = code};

	(void)snprintf(response.words, sizeof(response.words), "%s", words);
	connection_answer(c, stream, &response);
}

/* With the lock held: is this stream owed an answer? Then not any more, if it is the last. */
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

static void *answers_thread(void *arg)
{
	struct connection *c = arg;
	struct ttrpc_frame f = {.payload = NULL};

	while (ttrpc_frame_read(c->behind, &f) == 0) {
		pthread_mutex_lock(&c->lock);
		if (f.header.type != TTRPC_REQUEST &&
		    owed_locked(c, f.header.stream, f.header.type == TTRPC_RESPONSE) &&
		    ttrpc_frame_write(c->caller, &f.header, f.payload) < 0)
			(void)shutdown(c->caller, SHUT_RDWR);
		pthread_mutex_unlock(&c->lock);
		ttrpc_frame_deinit(&f);
	}
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n_streams; i++)
		refuse_locked(c, c->streams[i], TTRPC_UNAVAILABLE, "has ended");
	c->n_streams = 0;
	(void)close(c->behind);
	c->behind = -1;
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* With `hand` held: a connection that is believed to work. */
static int connect_behind(struct connection *c)
{
	const struct address *a = c->relay->options.behind;
	cleanup_close int fd = -1;
	bool connected;

	pthread_mutex_lock(&c->lock);
	connected = c->behind >= 0;
	pthread_mutex_unlock(&c->lock);
	if (connected)
		return 0;
	if (c->has_answers)
		pthread_join(c->answers, NULL);
	c->has_answers = false;
	fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &a->sa, a->size) < 0)
		return -errno;
	c->behind = take_fd(&fd); /* nobody else looks at it without a thread */
	if (pthread_create(&c->answers, NULL, answers_thread, c) != 0) {
		(void)close(c->behind);
		c->behind = -1;
		return -EAGAIN;
	}
	c->has_answers = true;
	return 0;
}

/* With `hand` held: a descriptor to write the frame to, as the other thread may close its own meanwhile; the
 * stream is noted. -1 when it was refused. */
static int owe(struct connection *c, const struct ttrpc_frame *f)
{
	uint32_t stream = f->header.stream;
	bool request = f->header.type == TTRPC_REQUEST;
	int fd = -1;

	pthread_mutex_lock(&c->lock);
	if (request && c->n_streams == RELAY_STREAMS)
		refuse_locked(c, stream, TTRPC_RESOURCE_EXHAUSTED, "has too many calls to answer");
	else if (c->behind < 0 || (fd = fcntl(c->behind, F_DUPFD_CLOEXEC, 0)) < 0)
		refuse_locked(c, stream, TTRPC_UNAVAILABLE, "has ended");
	else if (request)
		c->streams[c->n_streams++] = stream;
	pthread_mutex_unlock(&c->lock);
	return fd;
}

void connection_hand_on(struct connection *c, const struct ttrpc_frame *f)
{
	cleanup_close int fd = -1;

	if (!c->relay->options.behind) {
		connection_refuse(c, f->header.stream, TTRPC_UNIMPLEMENTED,
				  "there is no Confidential Data Hub here");
		return;
	}
	pthread_mutex_lock(&c->hand);
	if (connect_behind(c) == 0) {
		fd = owe(c, f);
		if (fd >= 0 && ttrpc_frame_write(fd, &f->header, f->payload) < 0)
			(void)shutdown(fd, SHUT_RDWR); /* its thread tells everyone who waits */
	} else {
		pthread_mutex_lock(&c->lock);
		refuse_locked(c, f->header.stream, TTRPC_UNAVAILABLE, "is away");
		pthread_mutex_unlock(&c->lock);
	}
	pthread_mutex_unlock(&c->hand);
}

static void take_request(struct connection *c, struct ttrpc_frame *f)
{
	const struct relay_options *o = &c->relay->options;
	struct ttrpc_request q;
	struct err e = {""};

	if (o->service && ttrpc_request_decode(&q, f->payload, f->header.size, &e) < 0)
		connection_refuse(c, f->header.stream, TTRPC_INVALID_ARGUMENT, e.text);
	else if (!o->service || strcmp(q.service, o->service) != 0 || strcmp(q.method, o->method) != 0)
		connection_hand_on(c, f);
	else if (call_start(c, f, &q) < 0)
		connection_refuse(c, f->header.stream, TTRPC_RESOURCE_EXHAUSTED,
				  "too many calls are under way");
}

/* Everything that was said for this connection has an end: the own method's calls first, as they may hand on
 * yet. */
static void finish(struct connection *c)
{
	(void)shutdown(c->caller, SHUT_RDWR);
	pthread_mutex_lock(&c->lock);
	while (c->n_calls > 0)
		pthread_cond_wait(&c->no_calls, &c->lock);
	if (c->behind >= 0)
		(void)shutdown(c->behind, SHUT_RDWR);
	pthread_mutex_unlock(&c->lock);
	if (c->has_answers)
		pthread_join(c->answers, NULL);
}

static void *caller_thread(void *arg)
{
	struct connection *c = arg;
	int status = 0;

	while (status == 0 || status == -E2BIG) {
		struct ttrpc_frame f = {.payload = NULL};

		status = ttrpc_frame_read(c->caller, &f);
		if (status == -E2BIG)
			connection_refuse(c, f.header.stream, TTRPC_RESOURCE_EXHAUSTED,
					  "the message is too large");
		else if (status == 0 && f.header.type == TTRPC_REQUEST)
			take_request(c, &f);
		else if (status == 0)
			connection_hand_on(c, &f);
		ttrpc_frame_deinit(&f);
	}
	finish(c);
	relay_note_end(c);
	return NULL;
}

static void connection_free(struct connection *c)
{
	(void)close(c->caller);
	pthread_cond_destroy(&c->no_calls);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->hand);
	free(c);
}

struct connection *connection_start(struct relay *r, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return NULL;
	}
	c->relay = r;
	c->caller = fd;
	c->behind = -1;
	pthread_mutex_init(&c->hand, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->no_calls, NULL);
	if (pthread_create(&c->thread, NULL, caller_thread, c) != 0) {
		connection_free(c);
		return NULL;
	}
	return c;
}

void connection_join(struct connection *c)
{
	(void)shutdown(c->caller, SHUT_RDWR);
	pthread_join(c->thread, NULL);
	connection_free(c);
}
