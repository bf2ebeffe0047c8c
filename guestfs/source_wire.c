/* SPDX-License-Identifier: Apache-2.0
 * The wire as a source: asks, and asks again on a new connection when one breaks, until the deadline. Nothing
 * here judges the bytes. */
#include "guestfs/source_wire.h"
#include "guestfs/wire_session.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct source_wire {
	struct source source;
	struct wire_session session;
};

static struct wire_session *session_of(struct source *source)
{
	return &((struct source_wire *)source)->session;
}

static int wire_source_open(struct source *source, struct buf *manifest,
			    uint8_t descriptor[static DESCRIPTOR_SIZE], struct err *e)
{
	struct wire_session *w = session_of(source);
	int r = wire_session_open(w, manifest, e);

	if (r == 0)
		memcpy(descriptor, w->descriptor, DESCRIPTOR_SIZE);
	return r;
}

static int accept_bytes(struct single *s, const uint8_t *payload, size_t size, struct err *e)
{
	if (size != s->n)
		return err_set(e, -EPROTO, "%zu bytes of index, asked for %zu", size, s->n);
	memcpy(s->to, payload, size);
	return 0;
}

static int read_index_once(struct wire_session *w, void *to, uint32_t n, uint64_t offset,
			   const struct deadline *deadline, struct err *e)
{
	struct single s = {.accept = accept_bytes, .w = w, .to = to, .n = n};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	uint32_t handle;
	int r = wire_session_connection(w, &c, &handle, deadline, e);

	buf_init(&payload, WIRE_MAX_PAYLOAD);
	if (r != 0)
		return r;
	wire_index_encode(&payload, &(struct wire_index){.handle = handle, .length = n, .offset = offset});
	r = wire_call(c,
		      &(struct wire_call){.type = WIRE_INDEX,
					  .payload = &payload,
					  .n_answers = 1,
					  .max_payload = n > FAILURE_MAX_PAYLOAD ? n : FAILURE_MAX_PAYLOAD,
					  .answer = single_answer,
					  .arg = &s},
		      deadline, e);
	wire_connection_unref(c);
	return r < 0 ? call_result(w, r) : s.result;
}

static int wire_source_read_index(struct source *source, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct wire_session *w = session_of(source);
	struct deadline deadline = wire_session_deadline(w);
	unsigned int backoff = BACKOFF_FIRST_MS;
	uint8_t *p = to;

	while (n > 0) {
		uint32_t part = n < WIRE_MAX_INDEX_READ ? (uint32_t)n : WIRE_MAX_INDEX_READ;
		int r = read_index_once(w, p, part, offset, &deadline, e);

		if (r == TRY_AGAIN && back_off(&backoff, &deadline))
			continue;
		if (r == TRY_AGAIN)
			r = -ETIMEDOUT;
		wire_session_note(w, r);
		if (r < 0)
			return r;
		p += part;
		offset += part;
		n -= part;
	}
	return 0;
}

/* One read_chunks(): `pending` are the indices of places that nobody has told about yet, by chunk number. */
struct chunks {
	const struct chunk_place *places;
	chunk_arrival *arrival;
	void *arg;
	size_t n_pending;
	uint16_t pending[WIRE_MAX_CHUNKS];
	bool asked[WIRE_MAX_CHUNKS];   /* of `pending`: in this request, not answered */
	bool settled[WIRE_MAX_CHUNKS]; /* of `pending`: the arrival was called */
};

static int by_number(const void *a, const void *b, void *arg)
{
	const struct chunks *q = arg;
	uint32_t x = q->places[*(const uint16_t *)a].number, y = q->places[*(const uint16_t *)b].number;

	return x < y ? -1 : x > y;
}

/* Position in `pending` of a chunk that was asked for and has not been answered; -EPROTO for any other. */
static int find_asked(struct chunks *q, uint32_t number, size_t *out, struct err *e)
{
	size_t low = 0, high = q->n_pending;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (q->places[q->pending[middle]].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == q->n_pending || q->places[q->pending[low]].number != number || !q->asked[low])
		return err_set(e, -EPROTO, "an answer for chunk %u, which nobody waits for", number);
	*out = low;
	return 0;
}

static void settle(struct chunks *q, size_t k, const uint8_t *stored, int error)
{
	q->settled[k] = true;
	q->arrival(q->arg, q->pending[k], stored, error);
}

static int chunk_answer(void *arg, enum wire_status status, const uint8_t *payload, size_t size,
			struct err *e)
{
	struct chunks *q = arg;
	const uint8_t *stored = NULL;
	struct wire_failure failure;
	size_t stored_size = 0, k = 0;
	uint32_t number = 0;
	int r;

	if (status == WIRE_OK) {
		r = wire_chunk_decode(&number, &stored, &stored_size, payload, size, e);
	} else {
		r = wire_failure_decode(&failure, payload, size, e);
		if (r == 0)
			number = failure.chunk;
	}
	if (r == 0)
		r = find_asked(q, number, &k, e);
	if (r < 0)
		return r;
	q->asked[k] = false;
	if (status != WIRE_OK) {
		r = err_set(e, status_result(status), "the host says: %s", failure.words);
		if (r < 0) /* otherwise it stays pending */
			settle(q, k, NULL, r);
	} else if (stored_size != q->places[q->pending[k]].entry.stored_size) {
		settle(q, k, NULL, -EBADMSG);
	} else {
		settle(q, k, stored, 0);
	}
	return 0;
}

/* Put pending chunks into one request, as many as its runs can say. */
static size_t ask(struct chunks *q, struct wire_chunks *request, size_t *max_payload)
{
	size_t k;

	*max_payload = FAILURE_MAX_PAYLOAD;
	request->n_runs = 0;
	memset(q->asked, 0, sizeof(q->asked));
	for (k = 0; k < q->n_pending; k++) {
		const struct chunk_place *p = &q->places[q->pending[k]];
		struct wire_run *last = &request->runs[request->n_runs - (request->n_runs > 0)];

		if (request->n_runs > 0 && last->first + last->count == p->number) {
			last->count++;
		} else {
			if (request->n_runs == WIRE_MAX_RUNS)
				break;
			request->runs[request->n_runs++] = (struct wire_run){p->number, 1};
		}
		q->asked[k] = true;
		if (*max_payload < 4 + (size_t)p->entry.stored_size)
			*max_payload = 4 + (size_t)p->entry.stored_size;
	}
	return k;
}

static int read_chunks_once(struct wire_session *w, struct chunks *q, bool ahead,
			    const struct deadline *deadline, struct err *e)
{
	struct wire_chunks request = {.ahead = ahead};
	struct wire_call call = {.type = WIRE_CHUNKS, .answer = chunk_answer, .arg = q};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	int r = wire_session_connection(w, &c, &request.handle, deadline, e);

	buf_init(&payload, WIRE_MAX_PAYLOAD);
	if (r != 0)
		return r;
	call.n_answers = ask(q, &request, &call.max_payload);
	call.payload = &payload;
	wire_chunks_encode(&payload, &request);
	r = buf_failed(&payload) ? err_set(e, -ENOMEM, "out of memory") : wire_call(c, &call, deadline, e);
	wire_connection_unref(c);
	return call_result(w, r);
}

/* Forget what is settled. */
static void compact(struct chunks *q)
{
	size_t n = 0;

	for (size_t k = 0; k < q->n_pending; k++)
		if (!q->settled[k])
			q->pending[n++] = q->pending[k];
	q->n_pending = n;
	memset(q->settled, 0, sizeof(q->settled));
}

static int wire_source_read_chunks(struct source *source, const struct chunk_place *places, size_t n,
				   bool ahead, chunk_arrival *arrival, void *arg, struct err *e)
{
	struct wire_session *w = session_of(source);
	struct deadline deadline = wire_session_deadline(w);
	struct chunks q = {.places = places, .arrival = arrival, .arg = arg, .n_pending = n};
	unsigned int backoff = BACKOFF_FIRST_MS;
	int r = 0;

	for (size_t k = 0; k < n; k++)
		q.pending[k] = (uint16_t)k;
	while (q.n_pending > 0 && r >= 0) {
		size_t before = q.n_pending;

		qsort_r(q.pending, q.n_pending, sizeof(q.pending[0]), by_number, &q);
		r = read_chunks_once(w, &q, ahead, &deadline, e);
		compact(&q);
		if (q.n_pending < before) {
			backoff = BACKOFF_FIRST_MS;
			wire_session_note(w, 0);
		} else if (r >= 0 && !back_off(&backoff, &deadline)) {
			r = -ETIMEDOUT;
			wire_session_note(w, r);
		}
	}
	if (q.n_pending == n)
		return r;
	for (size_t k = 0; k < q.n_pending; k++)
		arrival(arg, q.pending[k], NULL, r);
	return 0;
}

static void wire_source_stop(struct source *source)
{
	wire_session_stop(session_of(source));
}

static void wire_source_close(struct source *source)
{
	struct source_wire *s = (struct source_wire *)source;

	wire_session_deinit(&s->session);
	free(s);
}

static const struct source_ops wire_source_ops = {
	.open = wire_source_open,
	.read_index = wire_source_read_index,
	.read_chunks = wire_source_read_chunks,
	.stop = wire_source_stop,
	.close = wire_source_close,
};

int source_wire_new(struct source **out, const struct source_wire_options *options, struct err *e)
{
	struct source_wire *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->source.ops = &wire_source_ops;
	s->session.reference = *options->reference;
	s->session.timeout_ms = options->timeout_ms ? options->timeout_ms : SOURCE_WIRE_TIMEOUT_MS;
	wire_session_init(&s->session);
	r = address_parse(&s->session.address, options->address, e);
	if (r == 0 && options->reference->layout)
		r = err_set(e, -EINVAL, "a host is asked for images of a registry, not for oci:DIR");
	if (r < 0) {
		wire_source_close(&s->source);
		return r;
	}
	*out = &s->source;
	return 0;
}
