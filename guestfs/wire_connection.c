/* SPDX-License-Identifier: Apache-2.0
 * Requests wait in a list; the reading thread finds each answer's request by its id, receives the payload
 * into a buffer of its own and hands that over: the thread that asked does the work on it, so that opening
 * chunks uses all processors. Of a request that was given up a stub stays until its answers have come. */
#include "guestfs/wire_connection.h"
#include "guestfs/wire_stream.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define HELLO_ID 1u
#define QUEUE_BYTES (4u << 20) /* answers that have arrived and wait for who asked; or one */
#define STUBS_MAX 16u /* requests that were given up; with more of them it is the host that is broken */

/* An answer on its way to who asked. */
struct frame {
	STAILQ_ENTRY(frame) next;
	enum wire_status status;
	size_t size;
	uint8_t payload[];
};

STAILQ_HEAD(frame_list, frame);

/* A request under way; lives in the stack frame of its caller. */
struct request {
	LIST_ENTRY(request) entry;
	uint64_t id;
	enum wire_type type;
	size_t n_missing; /* frames that the reader has not begun to receive */
	size_t max_payload;
	uint64_t sent_ms;
	struct frame_list frames;
	pthread_cond_t arrived;
};

LIST_HEAD(request_list, request);

/* What is left of a request that was given up: enough to know its answers. */
struct stub {
	uint64_t id; /* 0: a free place */
	enum wire_type type;
	size_t n_missing;
	size_t max_payload;
};

struct wire_connection {
	int fd;
	pthread_t reader;
	pthread_mutex_t send_lock; /* one whole frame at a time; never taken with `lock` held */
	pthread_mutex_t lock;	   /* guards what follows */
	unsigned int refs;
	int broken; /* negative errno when this connection is of no use any more */
	struct err why;
	uint64_t culprit; /* the request whose answer broke it; 0: nobody's */
	struct request_list requests;
	struct stub stubs[STUBS_MAX];
	uint64_t heard_ms; /* when the last answer was complete */
	uint64_t last_id;
	unsigned int n_open, max_open;
	pthread_cond_t room; /* n_open went down, max_open up, or it broke */
	size_t queued;	     /* bytes of answers that are being received or wait */
	pthread_cond_t drained;
};

/* With the lock held. The first reason counts; everyone who waits is told. */
static void break_locked(struct wire_connection *c, int code, uint64_t culprit, const struct err *why)
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
	(void)shutdown(c->fd, SHUT_RDWR);
	LIST_FOREACH(q, &c->requests, entry)
	pthread_cond_signal(&q->arrived);
	pthread_cond_broadcast(&c->room);
	pthread_cond_signal(&c->drained);
}

static void break_connection(struct wire_connection *c, int code, uint64_t culprit, const struct err *why)
{
	pthread_mutex_lock(&c->lock);
	break_locked(c, code, culprit, why);
	pthread_mutex_unlock(&c->lock);
}

/* With the lock held, when it is broken: what this means to request `id`. */
static int why_broken(const struct wire_connection *c, uint64_t id, struct err *e)
{
	if (c->broken == -EPROTO && c->culprit != 0 && c->culprit != id)
		return err_set(e, -ECONNABORTED, "the connection broke under another request: %s",
			       c->why.text);
	return err_set(e, c->broken, "%s", c->why.text);
}

static int send_frame(struct wire_connection *c, enum wire_type type, uint64_t id, const struct buf *payload,
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
	r = stream_send(c->fd, frame.data, frame.size, deadline);
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

/* With the lock held; the id is not 0. */
static struct stub *find_stub(struct wire_connection *c, uint64_t id)
{
	for (size_t k = 0; k < STUBS_MAX; k++)
		if (c->stubs[k].id == id)
			return &c->stubs[k];
	return NULL;
}

/* With the lock held. */
static void request_gone(struct wire_connection *c)
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
		s = find_stub(c, h->id);
	if (q)
		r = count_answer(h, q->type, q->max_payload, &q->n_missing, e);
	else if (s)
		r = count_answer(h, s->type, s->max_payload, &s->n_missing, e);
	else
		r = err_set(e, -EPROTO, "an answer that nobody asked for");
	if (r == 0 && s && s->n_missing == 0) {
		s->id = 0;
		request_gone(c);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void frame_free(struct wire_connection *c, struct frame *f)
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
		frame_free(c, f); /* who asked has given up */
}

/* *culprit: the request whose answer it is, when there is one. */
static int read_frame(struct wire_connection *c, uint64_t *culprit, struct err *e)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header h;
	struct deadline deadline;
	struct frame *f;
	size_t got = 0;
	int r = stream_receive_some(c->fd, raw, sizeof(raw), &got, NULL);

	deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	if (r == 0)
		r = stream_receive(c->fd, raw + got, sizeof(raw) - got, &deadline);
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
	r = stream_receive(c->fd, f->payload, h.size, &deadline);
	if (r < 0) {
		frame_free(c, f);
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
	int r = stream_receive(c->fd, raw, sizeof(raw), &deadline);

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
	r = stream_receive(c->fd, payload, h.size, &deadline);
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
	break_connection(c, r, culprit, &e);
	return NULL;
}

static void connection_free(struct wire_connection *c)
{
	(void)close(c->fd);
	pthread_cond_destroy(&c->drained);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->send_lock);
	free(c);
}

int wire_adopt(struct wire_connection **out, int fd, struct err *e)
{
	struct wire_connection *c = calloc(1, sizeof(*c));
	struct deadline deadline = deadline_after(WIRE_STALL_SECONDS * 1000);
	cleanup_buf struct buf hello = {.max = WIRE_MAX_PAYLOAD};
	int r;

	if (!c) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	c->fd = fd;
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
	r = buf_failed(&hello) ? -ENOMEM : send_frame(c, WIRE_HELLO, HELLO_ID, &hello, &deadline);
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
	/* a unix socket with a full backlog says EAGAIN and has not begun: the caller's back-off */
	if (connect(fd, &address->sa, address->size) < 0 && errno != EINPROGRESS)
		return err_errno(e, -errno, "connecting to the host");
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
		break_locked(c, -ESHUTDOWN, 0, &(struct err){"closed"});
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

void wire_connection_break(struct wire_connection *c)
{
	break_connection(c, -ESHUTDOWN, 0, &(struct err){"closed"});
}

/* Take a place among the open requests, as many as the host allows. */
static int request_begin(struct wire_connection *c, struct request *q, const struct deadline *deadline,
			 struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (r == 0 && !c->broken && c->n_open >= c->max_open)
		r = -pthread_cond_clockwait(&c->room, &c->lock, CLOCK_MONOTONIC, &deadline->at);
	if (c->broken)
		r = why_broken(c, UINT64_MAX, e); /* it was not asked: nothing was its fault */
	else if (r < 0)
		(void)err_set(e, r, "too many requests to the host are open");
	if (r == 0) {
		q->id = ++c->last_id;
		q->sent_ms = monotonic_ms();
		c->n_open++;
		LIST_INSERT_HEAD(&c->requests, q, entry);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* With the lock held: answers may still come for a request that ends. The host counts it as open until then,
 * and half of what it allows is for others. */
static void leave_stub(struct wire_connection *c, const struct request *q)
{
	struct stub *s = find_stub(c, 0);
	unsigned int n = 1;

	for (size_t k = 0; k < STUBS_MAX; k++)
		n += c->stubs[k].id != 0;
	if (s && n <= c->max_open / 2)
		*s = (struct stub){q->id, q->type, q->n_missing, q->max_payload};
	else
		break_locked(c, -ECONNABORTED, 0, &(struct err){"too many requests without an answer"});
}

static void request_end(struct wire_connection *c, struct request *q)
{
	struct frame *f;

	pthread_mutex_lock(&c->lock);
	LIST_REMOVE(q, entry);
	if (q->n_missing > 0 && !c->broken)
		leave_stub(c, q);
	else
		request_gone(c);
	pthread_mutex_unlock(&c->lock);
	while ((f = STAILQ_FIRST(&q->frames))) {
		STAILQ_REMOVE_HEAD(&q->frames, next);
		frame_free(c, f);
	}
}

/* With the lock held, at a request's deadline: has the host said nothing for so long, though it was asked? */
static bool is_silent(const struct wire_connection *c, const struct request *q, unsigned int silence_ms)
{
	uint64_t since = c->heard_ms > q->sent_ms ? c->heard_ms : q->sent_ms;

	return monotonic_ms() - since >= silence_ms;
}

/* The next answer, or why there will be none. What has arrived is handed out before a break is told. */
static int next_frame(struct wire_connection *c, struct request *q, const struct deadline *deadline,
		      unsigned int silence_ms, struct frame **out, struct err *e)
{
	struct frame *f;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	while (!(f = STAILQ_FIRST(&q->frames)) && !c->broken && r == 0)
		r = -pthread_cond_clockwait(&q->arrived, &c->lock, CLOCK_MONOTONIC, &deadline->at);
	if (f) {
		STAILQ_REMOVE_HEAD(&q->frames, next);
		r = 0;
	} else if (c->broken) {
		r = why_broken(c, q->id, e);
	} else {
		(void)err_errno(e, r, "waiting for the host's answer");
		if (is_silent(c, q, silence_ms))
			break_locked(c, -ECONNABORTED, 0, e); /* others may have time left */
	}
	pthread_mutex_unlock(&c->lock);
	*out = f;
	return r;
}

static int collect(struct wire_connection *c, struct request *q, const struct wire_call *call,
		   const struct deadline *deadline, struct err *e)
{
	for (size_t k = 0; k < call->n_answers; k++) {
		struct frame *f;
		int r = next_frame(c, q, deadline, call->silence_ms, &f, e);

		if (r < 0)
			return r;
		r = call->answer(call->arg, f->status, f->payload, f->size, e);
		frame_free(c, f);
		if (r < 0) {
			break_connection(c, r, q->id, e);
			return r;
		}
	}
	return 0;
}

int wire_call(struct wire_connection *c, const struct wire_call *call, const struct deadline *deadline,
	      struct err *e)
{
	struct request q = {
		.type = call->type,
		.n_missing = call->n_answers,
		.max_payload = call->max_payload,
	};
	int r;

	STAILQ_INIT(&q.frames);
	pthread_cond_init(&q.arrived, NULL);
	r = request_begin(c, &q, deadline, e);
	if (r == 0) {
		r = send_frame(c, q.type, q.id, call->payload, deadline);
		if (r < 0) {
			(void)err_errno(e, r, "sending to the host");
			break_connection(c, r, 0, e); /* half a frame may be on its way */
		} else {
			r = collect(c, &q, call, deadline, e);
		}
		request_end(c, &q);
	}
	pthread_cond_destroy(&q.arrived);
	return r;
}
