/* SPDX-License-Identifier: Apache-2.0
 * The calling side of a connection: a request takes its place among those that are open, is sent, and its
 * thread works on each answer as the reading thread hands it over. Of a request that was given up a stub
 * stays until its answers have come. */
#include "guestfs/wire_connection_internal.h"

#include <errno.h>

/* With the lock held, when it is broken: what this means to request `id`. */
static int why_broken(const struct wire_connection *c, uint64_t id, struct err *e)
{
	if (c->broken == -EPROTO && c->culprit != 0 && c->culprit != id)
		return err_set(e, -ECONNABORTED, "the connection broke under another request: %s",
			       c->why.text);
	return err_set(e, c->broken, "%s", c->why.text);
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
	struct stub *s = wire_find_stub(c, 0);
	unsigned int n = 1;

	for (size_t k = 0; k < STUBS_MAX; k++)
		n += c->stubs[k].id != 0;
	if (s && n <= c->max_open / 2)
		*s = (struct stub){q->id, q->type, q->n_missing, q->max_payload};
	else
		wire_break_locked(c, -ECONNABORTED, 0, &(struct err){"too many requests without an answer"});
}

static void request_end(struct wire_connection *c, struct request *q)
{
	struct frame *f;

	pthread_mutex_lock(&c->lock);
	LIST_REMOVE(q, entry);
	if (q->n_missing > 0 && !c->broken)
		leave_stub(c, q);
	else
		wire_request_gone(c);
	pthread_mutex_unlock(&c->lock);
	while ((f = STAILQ_FIRST(&q->frames))) {
		STAILQ_REMOVE_HEAD(&q->frames, next);
		wire_frame_free(c, f);
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
			wire_break_locked(c, -ECONNABORTED, 0, e); /* others may have time left */
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
		if (r == 0 && f->status == WIRE_OK && call->type != WIRE_OPEN)
			atomic_store_explicit(&c->served, true, memory_order_relaxed);
		wire_frame_free(c, f);
		if (r < 0) {
			wire_break(c, r, q->id, e);
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
		r = wire_send_frame(c, q.type, q.id, call->payload, deadline);
		if (r < 0) {
			(void)err_errno(e, r, "sending to the host");
			wire_break(c, r, 0, e); /* half a frame may be on its way */
		} else {
			r = collect(c, &q, call, deadline, e);
		}
		request_end(c, &q);
	}
	pthread_cond_destroy(&q.arrived);
	return r;
}
