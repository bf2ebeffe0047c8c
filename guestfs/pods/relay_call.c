/* SPDX-License-Identifier: Apache-2.0
 * The own method: each call has a thread, as it may take long, and answers when it is done. */
#include "guestfs/pods/relay_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct call {
	struct connection *connection;
	struct ttrpc_frame frame;     /* owned */
	struct ttrpc_request request; /* borrows from the frame */
};

static void answer(struct call *call)
{
	const struct relay_options *o = &call->connection->relay->options;
	struct ttrpc_response response = {.payload = bytes_of(NULL, 0)};
	struct err e = {""};
	cleanup_buf struct buf reply;
	int r;

	buf_init(&reply, TTRPC_MAX_DATA / 2);
	r = o->call(o->arg, &call->request, &reply, &e);
	if (r == RELAY_HAND_ON) {
		connection_hand_on(call->connection, &call->frame);
		return;
	}
	response.code = r < 0 ? ttrpc_code_of(r) : TTRPC_OK;
	response.payload = bytes_of(reply.data, reply.size);
	memcpy(response.words, e.text, sizeof(response.words));
	connection_answer(call->connection, call->frame.header.stream, &response);
}

/* One call more or less under way; false when there are too many. */
static bool count(struct connection *c, bool begins)
{
	struct relay *r = c->relay;
	bool room;

	pthread_mutex_lock(&r->lock);
	room = !begins || r->n_calls < RELAY_CALLS;
	if (room)
		r->n_calls += begins ? 1 : UINT_MAX;
	pthread_mutex_unlock(&r->lock);
	if (!room)
		return false;
	pthread_mutex_lock(&c->lock);
	c->n_calls += begins ? 1 : UINT_MAX;
	if (c->n_calls == 0)
		pthread_cond_signal(&c->no_calls);
	pthread_mutex_unlock(&c->lock); /* the connection may be gone after this */
	return true;
}

static void *call_thread(void *arg)
{
	struct call *call = arg;
	struct connection *c = call->connection;

	answer(call);
	ttrpc_frame_deinit(&call->frame);
	free(call);
	(void)count(c, false);
	return NULL;
}

int call_start(struct connection *c, struct ttrpc_frame *f, const struct ttrpc_request *request)
{
	struct call *call = malloc(sizeof(*call));
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	if (!call || !count(c, true)) {
		r = call ? -EBUSY : -ENOMEM;
		free(call);
		return r;
	}
	*call = (struct call){c, *f, *request};
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = -pthread_create(&thread, &attributes, call_thread, call);
	(void)pthread_attr_destroy(&attributes);
	if (r < 0) {
		free(call);
		(void)count(c, false);
		return r;
	}
	f->payload = NULL;
	return 0;
}
