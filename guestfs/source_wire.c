/* SPDX-License-Identifier: Apache-2.0
 * The wire as a source: asks, and asks again as long as the session has patience. Nothing here judges the
 * bytes. */
#include "guestfs/source_wire.h"
#include "guestfs/failed_chunks.h"
#include "guestfs/wire_session.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_BLOCK 4096u /* of the chunk table and its tree */

struct source_wire {
	struct source source;
	struct wire_session session;
	struct failed_chunks failed, failed_index; /* the latter by block of the index */
};

static struct source_wire *wire_of(struct source *source)
{
	return (struct source_wire *)source;
}

static struct wire_session *session_of(struct source *source)
{
	return &wire_of(source)->session;
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
			   struct patience *patience, struct err *e)
{
	struct single s = {.accept = accept_bytes, .w = w, .patience = patience, .to = to, .n = n};
	struct wire_call call = {.type = WIRE_INDEX, .n_answers = 1, .answer = single_answer, .arg = &s};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	uint32_t handle;
	int r = wire_session_connection(w, &c, &handle, patience, e);

	buf_init(&payload, WIRE_MAX_PAYLOAD);
	if (r < 0)
		return r;
	s.connection = c;
	wire_index_encode(&payload, &(struct wire_index){.handle = handle, .length = n, .offset = offset});
	call.payload = &payload;
	call.max_payload = n > FAILURE_MAX_PAYLOAD ? n : FAILURE_MAX_PAYLOAD;
	r = buf_failed(&payload) ? err_set(e, -ENOMEM, "out of memory")
				 : wire_session_call(w, c, &call, patience, e);
	wire_connection_unref(c);
	return r == 0 ? s.result : r;
}

/* Is a failure what was asked for's own: an answer that did not come although the host is there, or one that
 * broke the rules? So is another failure of what has failed before. */
static bool is_worth_remembering(struct wire_session *w, int error, bool before)
{
	if (error == -ESHUTDOWN || error == -ENOMEM)
		return false;
	return before || error == -EPROTO || error == -EREMOTEIO ||
	       (error == -ETIMEDOUT && !wire_session_is_lost(w));
}

static int read_index_patiently(struct wire_session *w, uint8_t *p, size_t n, uint64_t offset,
				struct patience patience, struct err *e)
{
	bool waited = false;

	while (n > 0) {
		uint32_t part = n < WIRE_MAX_INDEX_READ ? (uint32_t)n : WIRE_MAX_INDEX_READ;
		int r = read_index_once(w, p, part, offset, &patience, e);

		if (r == TRY_AGAIN) {
			r = wire_session_back_off(w, &patience, e);
			part = 0;
			waited = true;
		} else if (r == 0 && waited) {
			wire_session_upstream_back(w);
		}
		if (r < 0)
			return r;
		p += part;
		offset += part;
		n -= part;
	}
	return 0;
}

static int wire_source_read_index(struct source *source, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct source_wire *s = wire_of(source);
	struct wire_session *w = &s->session;
	uint32_t block = (uint32_t)(offset / INDEX_BLOCK);
	uint64_t began_ms = monotonic_ms();
	int known = failed_chunks_look(&s->failed_index, block, began_ms), r;

	if (known < 0)
		return err_errno(e, known, "the host did not give this part of the index a moment ago");
	r = read_index_patiently(
		w, to, n, offset,
		known == CHUNK_UNKNOWN ? wire_session_patience(w) : wire_session_impatience(w), e);
	if (r == 0)
		(void)failed_chunks_drop(&s->failed_index, block);
	else if (is_worth_remembering(w, r, known == CHUNK_ASK_ONCE))
		failed_chunks_add(&s->failed_index, block, r, began_ms, monotonic_ms());
	return r;
}

/* One read_chunks(): `pending` are the indices of places that are asked for and nobody has told about yet, by
 * chunk number. */
struct chunks {
	struct source_wire *wire;
	const struct wire_connection *connection; /* of the request under way */
	struct patience patience;
	uint64_t began_ms;
	const struct chunk_place *places;
	chunk_arrival *arrival;
	void *arg;
	size_t n_pending;
	uint16_t pending[WIRE_MAX_CHUNKS];
	bool asked[WIRE_MAX_CHUNKS];   /* of `pending`: in this request, not answered */
	bool settled[WIRE_MAX_CHUNKS]; /* of `pending`: the arrival was called */
	bool waited[WIRE_MAX_CHUNKS];  /* of `places`: the host has said that it may come later */
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

static void remember(struct chunks *q, uint32_t number, int error)
{
	failed_chunks_add(&q->wire->failed, number, error, q->began_ms, monotonic_ms());
}

/* A failure of this chunk's own is remembered. */
static void settle(struct chunks *q, size_t k, const uint8_t *stored, int error)
{
	uint32_t number = q->places[q->pending[k]].number;

	if (stored && (failed_chunks_drop(&q->wire->failed, number) || q->waited[q->pending[k]]))
		wire_session_upstream_back(&q->wire->session);
	if (error == -EREMOTEIO)
		remember(q, number, error);
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
		if (r == 0 && status == WIRE_INVALID)
			r = handle_is_wrong(q->connection, failure.words, e);
	}
	if (r == 0)
		r = find_asked(q, number, &k, e);
	if (r < 0)
		return r;
	q->asked[k] = false;
	wire_session_heard(&q->wire->session);
	if (status != WIRE_OK) {
		r = err_set(e, wire_session_status(&q->wire->session, status, &q->patience),
			    "the host says: %s", failure.words);
		if (r < 0)
			settle(q, k, NULL, r);
		else
			q->waited[q->pending[k]] = true; /* and stays pending */
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

static int read_chunks_once(struct chunks *q, bool ahead, struct err *e)
{
	struct wire_session *w = &q->wire->session;
	struct wire_chunks request = {.ahead = ahead};
	struct wire_call call = {.type = WIRE_CHUNKS, .answer = chunk_answer, .arg = q};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	int r = wire_session_connection(w, &c, &request.handle, &q->patience, e);

	buf_init(&payload, WIRE_MAX_PAYLOAD);
	if (r < 0)
		return r;
	q->connection = c;
	call.n_answers = ask(q, &request, &call.max_payload);
	call.payload = &payload;
	wire_chunks_encode(&payload, &request);
	r = buf_failed(&payload) ? err_set(e, -ENOMEM, "out of memory")
				 : wire_session_call(w, c, &call, &q->patience, e);
	wire_connection_unref(c);
	return r;
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

/* Until nothing is pending or patience ends. */
static int read_pending(struct chunks *q, bool ahead, struct err *e)
{
	int r = 0;

	qsort_r(q->pending, q->n_pending, sizeof(q->pending[0]), by_number, q);
	while (q->n_pending > 0 && r >= 0) {
		size_t before = q->n_pending;

		r = read_chunks_once(q, ahead, e);
		compact(q);
		if (q->n_pending < before)
			q->patience.backoff_ms = BACKOFF_FIRST_MS;
		else if (r >= 0)
			r = wire_session_back_off(&q->wire->session, &q->patience, e);
	}
	return q->n_pending > 0 ? r : 0;
}

/* What is pending failed with `error`. */
static void remember_pending(struct chunks *q, int error, bool before)
{
	if (!is_worth_remembering(&q->wire->session, error, before))
		return;
	for (size_t k = 0; k < q->n_pending; k++)
		remember(q, q->places[q->pending[k]].number, error);
}

/* Everything that is left fails for the same reason. */
static void settle_pending(struct chunks *q, int error)
{
	for (size_t k = 0; k < q->n_pending; k++)
		q->arrival(q->arg, q->pending[k], NULL, error);
	q->n_pending = 0;
}

/* Chunks that failed lately are asked for after all others: these must not wait for an answer that may not
 * come. */
static int wire_source_read_chunks(struct source *source, const struct chunk_place *places, size_t n,
				   bool ahead, chunk_arrival *arrival, void *arg, struct err *e)
{
	struct source_wire *s = wire_of(source);
	struct chunks q = {.wire = s, .places = places, .arrival = arrival, .arg = arg};
	uint64_t now_ms = monotonic_ms();
	int known[WIRE_MAX_CHUNKS];

	for (size_t k = 0; k < n; k++) {
		known[k] = failed_chunks_look(&s->failed, places[k].number, now_ms);
		if (known[k] < 0)
			arrival(arg, k, NULL, known[k]);
	}
	for (int which = CHUNK_UNKNOWN; which <= CHUNK_ASK_ONCE; which++) {
		int r;

		for (size_t k = 0; k < n; k++)
			if (known[k] == which)
				q.pending[q.n_pending++] = (uint16_t)k;
		q.patience = which == CHUNK_UNKNOWN ? wire_session_patience(&s->session)
						    : wire_session_impatience(&s->session);
		q.began_ms = monotonic_ms();
		r = read_pending(&q, ahead, e);
		remember_pending(&q, r, which == CHUNK_ASK_ONCE);
		if (r < 0 && q.n_pending == n)
			return r; /* nobody was told */
		settle_pending(&q, r);
	}
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
	failed_chunks_deinit(&s->failed);
	failed_chunks_deinit(&s->failed_index);
	free(s);
}

static void wire_source_stats(struct source *source, struct source_stats *out)
{
	const struct wire_session *w = session_of(source);

	*out = (struct source_stats){
		.reconnects = atomic_load_explicit(&w->reconnects, memory_order_relaxed),
		.timeouts = atomic_load_explicit(&w->timeouts, memory_order_relaxed),
	};
}

static const struct source_ops wire_source_ops = {
	.open = wire_source_open,
	.read_index = wire_source_read_index,
	.read_chunks = wire_source_read_chunks,
	.stop = wire_source_stop,
	.stats = wire_source_stats,
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
	s->session.dial = options->dial;
	s->session.dial_arg = options->dial_arg;
	s->session.timeout_ms = options->timeout_ms ? options->timeout_ms : SOURCE_WIRE_TIMEOUT_MS;
	s->session.wait_ms = options->wait_ms;
	wire_session_init(&s->session);
	failed_chunks_init(&s->failed);
	failed_chunks_init(&s->failed_index);
	s->session.tls = options->tls;
	r = address_parse_host(&s->session.address, options->address, e);
	if (r == 0 && s->session.address.tls != (options->tls != NULL))
		r = err_set(e, -EINVAL, "TLS and the address do not fit together");
	if (r == 0 && options->reference->layout)
		r = err_set(e, -EINVAL, "a host is asked for images of a registry, not for oci:DIR");
	if (r < 0) {
		wire_source_close(&s->source);
		return r;
	}
	*out = &s->source;
	return 0;
}
