/* SPDX-License-Identifier: Apache-2.0
 * Requests wait in a list; the reading thread finds each answer's request by its id, receives the payload
 * into a buffer of its own and hands that over: the thread that asked does the work on it, so that opening
 * chunks uses all processors. */
#include "guestfs/wire_connection_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define HELLO_ID 1u
#define QUEUE_BYTES (4u << 20) /* answers that have arrived and wait for who asked; or one */

void wire_break_locked(struct wire_connection *c, int code, uint64_t culprit, const struct err *why)
{
	struct request *q;

	if (c->broken)
		return;
	c->broken = code;
	c->culprit = culprit;
	if (why)
		c->why = *why;
	else /* the caller wants no words, others may */
		(void)err_errno(&c->why, code, "the host's connection");
	(void)shutdown(c->stream.fd, SHUT_RDWR);
	LIST_FOREACH(q, &c->requests, entry)
	pthread_cond_signal(&q->arrived);
	pthread_cond_broadcast(&c->room);
	pthread_cond_signal(&c->drained);
}

void wire_break(struct wire_connection *c, int code, uint64_t culprit, const struct err *why)
{
	pthread_mutex_lock(&c->lock);
	wire_break_locked(c, code, culprit, why);
	pthread_mutex_unlock(&c->lock);
}

int wire_send_frame(struct wire_connection *c, enum wire_type type, uint64_t id, const struct buf *payload,
		    const struct deadline *deadline)
{
	struct wire_header h = {.size = (uint32_t)payload->size, .type = type, .id = id};
	uint8_t raw[WIRE_HEADER_SIZE];
	cleanup_buf struct buf frame;
	int r;

	buf_init(&frame, WIRE_HEADER_SIZE + WIRE_MAX_PAYLOAD);
	wire_header_encode(&h, raw);
	buf_put(&frame, raw, sizeof(raw));
	buf_put(&frame, payload->data, payload->size);
	if (buf_failed(&frame))
		return -ENOMEM;
	pthread_mutex_lock(&c->send_lock);
	r = stream_send(&c->stream, frame.data, frame.size, deadline);
	pthread_mutex_unlock(&c->send_lock);
	return r;
}

/* With the lock held. */
static struct request *find_request(struct wire_connection *c, uint64_t id)
{
	struct request *q;

	LIST_FOREACH(q, &c->requests, entry)
	if (q->id == id)
		return q;
	return NULL;
}

struct stub *wire_find_stub(struct wire_connection *c, uint64_t id)
{
	for (size_t k = 0; k < STUBS_MAX; k++)
		if (c->stubs[k].id == id)
			return &c->stubs[k];
	return NULL;
}

void wire_request_gone(struct wire_connection *c)
{
	c->n_open--;
	pthread_cond_signal(&c->room);
}

/* With the lock held: may this answer come, and may it be as large? Then it counts as begun. */
static int count_answer(const struct wire_header *h, enum wire_type type, size_t max_payload,
			size_t *n_missing, struct err *e)
{
	if (type != h->type || *n_missing == 0)
		return err_set(e, -EPROTO, "an answer that nobody asked for");
	if (h->size > max_payload)
		return err_set(e, -EPROTO, "an answer of %u bytes where %zu are the most", h->size,
			       max_payload);
	(*n_missing)--;
	return 0;
}

/* Does somebody wait for this answer, or did? */
static int expect_answer(struct wire_connection *c, const struct wire_header *h, uint64_t *culprit,
			 struct err *e)
{
	struct request *q;
	struct stub *s = NULL;
	int r;

	pthread_mutex_lock(&c->lock);
	q = find_request(c, h->id);
	if (q)
		*culprit = h->id;
	else
		s = wire_find_stub(c, h->id);
	if (q)
		r = count_answer(h, q->type, q->max_payload, &q->n_missing, e);
	else if (s)
		r = count_answer(h, s->type, s->max_payload, &s->n_missing, e);
	else
		r = err_set(e, -EPROTO, "an answer that nobody asked for");
	if (r == 0 && s && s->n_missing == 0) {
		s->id = 0;
		wire_request_gone(c);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

void wire_frame_free(struct wire_connection *c, struct frame *f)
{
	pthread_mutex_lock(&c->lock);
	c->queued -= f->size;
	pthread_cond_signal(&c->drained);
	pthread_mutex_unlock(&c->lock);
	free(f);
}

/* A host may answer everything at once: what is not read here waits on its side. */
static struct frame *frame_new(struct wire_connection *c, size_t size)
{
	struct frame *f;

	pthread_mutex_lock(&c->lock);
	while (!c->broken && c->queued > 0 && c->queued + size > QUEUE_BYTES)
		pthread_cond_wait(&c->drained, &c->lock);
	f = malloc(sizeof(*f) + size);
	if (f) {
		f->size = size;
		c->queued += size;
	}
	pthread_mutex_unlock(&c->lock);
	return f;
}

static void deliver(struct wire_connection *c, uint64_t id, struct frame *f)
{
	struct request *q;

	pthread_mutex_lock(&c->lock);
	c->heard_ms = monotonic_ms();
	q = find_request(c, id);
	if (q) {
		STAILQ_INSERT_TAIL(&q->frames, f, next);
		pthread_cond_signal(&q->arrived);
	}
	pthread_mutex_unlock(&c->lock);
	if (!q)
		wire_frame_free(c, f); /* who asked has given up */
}

/* *culprit: the request whose answer it is, when there is one. */
static int read_frame(struct wire_connection *c, uint64_t *culprit, struct err *e)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header h;
	struct deadline deadline;
	struct frame *f;
	size_t got = 0;
	int r = stream_receive_some(&c->stream, raw, sizeof(raw), &got, NULL);

	deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	if (r == 0)
		r = stream_receive(&c->stream, raw + got, sizeof(raw) - got, &deadline);
	if (r < 0)
		return err_errno(e, r, "the host's connection");
	r = wire_header_decode(&h, raw, false, e);
	if (r < 0)
		return r;
	r = expect_answer(c, &h, culprit, e);
	if (r < 0)
		return r;
	f = frame_new(c, h.size);
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->status = h.status;
	deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	r = stream_receive(&c->stream, f->payload, h.size, &deadline);
	if (r < 0) {
		wire_frame_free(c, f);
		return err_errno(e, r, "the host's connection, inside an answer");
	}
	deliver(c, h.id, f);
	return 0;
}

/* The answer to HELLO comes before all others and is nobody's but ours. */
static int read_welcome(struct wire_connection *c, struct err *e)
{
	struct deadline deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	uint8_t raw[WIRE_HEADER_SIZE], payload[4 + WIRE_MAX_WORDS];
	struct wire_header h;
	uint32_t max_open;
	int r = stream_receive(&c->stream, raw, sizeof(raw), &deadline);

	if (r < 0)
		return err_errno(e, r, "waiting for the host's hello");
	r = wire_header_decode(&h, raw, false, e);
	if (r < 0)
		return r;
	if (h.type != WIRE_HELLO || h.id != HELLO_ID || h.size > sizeof(payload))
		return err_set(e, -EPROTO, "the host does not begin with hello");
	if (h.status != WIRE_OK)
		return err_set(e, wire_status_errno(h.status), "the host refuses the connection, status %d",
			       (int)h.status);
	r = stream_receive(&c->stream, payload, h.size, &deadline);
	if (r < 0)
		return err_errno(e, r, "waiting for the host's hello");
	r = wire_welcome_decode(&max_open, payload, h.size, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&c->lock);
	c->max_open = max_open;
	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void *reader_thread(void *arg)
{
	struct wire_connection *c = arg;
	struct err e = {""};
	uint64_t culprit = 0;
	int r = read_welcome(c, &e);

	while (r == 0) {
		culprit = 0;
		r = read_frame(c, &culprit, &e);
	}
	wire_break(c, r, culprit, &e);
	return NULL;
}

static void connection_free(struct wire_connection *c)
{
	stream_close(&c->stream);
	pthread_cond_destroy(&c->drained);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->send_lock);
	free(c);
}

int wire_adopt(struct wire_connection **out, struct stream stream, struct err *e)
{
	struct wire_connection *c = calloc(1, sizeof(*c));
	struct deadline deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	cleanup_buf struct buf hello = {.max = WIRE_MAX_PAYLOAD};
	int r;

	if (!c) {
		stream_close(&stream);
		return err_set(e, -ENOMEM, "out of memory");
	}
	c->stream = stream;
	c->refs = 1;
	c->last_id = HELLO_ID;
	c->max_open = 1; /* until the host says more */
	c->heard_ms = monotonic_ms();
	LIST_INIT(&c->requests);
	pthread_mutex_init(&c->send_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->room, NULL);
	pthread_cond_init(&c->drained, NULL);
	wire_hello_encode(&hello);
	r = buf_failed(&hello) ? -ENOMEM : wire_send_frame(c, WIRE_HELLO, HELLO_ID, &hello, &deadline);
	if (r == 0)
		r = -pthread_create(&c->reader, NULL, reader_thread, c);
	if (r < 0) {
		connection_free(c);
		return err_errno(e, r, "saying hello to the host");
	}
	*out = c;
	return 0;
}

int wire_dial(const struct address *address, struct err *e)
{
	cleanup_close int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(e, -errno, "socket");
	if (address->tls) /* a request waits for nothing */
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	/* a unix socket with a full backlog says EAGAIN and has not begun: the caller's back-off */
	if (connect(fd, &address->sa, address->size) < 0 && errno != EINPROGRESS) {
		int r = err_errno(e, -errno, "connecting to the host");

		return r == -ENOENT ? -ECONNREFUSED : r; /* that is the host's word for an image */
	}
	return take_fd(&fd);
}

struct wire_connection *wire_connection_ref(struct wire_connection *c)
{
	pthread_mutex_lock(&c->lock);
	c->refs++;
	pthread_mutex_unlock(&c->lock);
	return c;
}

void wire_connection_unref(struct wire_connection *c)
{
	bool last;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	last = --c->refs == 0;
	if (last)
		wire_break_locked(c, -ESHUTDOWN, 0, &(struct err){"closed"});
	pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	pthread_join(c->reader, NULL);
	connection_free(c);
}

bool wire_connection_broken(struct wire_connection *c)
{
	bool broken;

	pthread_mutex_lock(&c->lock);
	broken = c->broken != 0;
	pthread_mutex_unlock(&c->lock);
	return broken;
}

bool wire_connection_served(const struct wire_connection *c)
{
	return atomic_load_explicit(&c->served, memory_order_relaxed);
}

void wire_connection_break(struct wire_connection *c)
{
	wire_break(c, -ESHUTDOWN, 0, &(struct err){"closed"});
}
