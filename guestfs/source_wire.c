/* SPDX-License-Identifier: Apache-2.0
 * The wire as a source: asks, and asks again on a new connection when one breaks, until the deadline. Nothing
 * here judges the bytes; only that an image opened a second time is the same as the first is checked, as
 * handles depend on it. */
#include "guestfs/source_wire.h"
#include "crypto/sha256.h"
#include "guestfs/wire_connection.h"
#include "proto/base/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_FIRST_MS 20u
#define BACKOFF_MAX_MS 1000u
#define AWAY_MIN_MS 1000u
#define FAILURE_MAX_PAYLOAD (4u + WIRE_MAX_WORDS)

struct source_wire {
	struct source source;
	struct address address;
	struct reference reference;
	unsigned int timeout_ms;
	atomic_bool away;     /* the last request ran to its deadline; a hint, no partner */
	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	pthread_cond_t changed;
	struct wire_connection *connection; /* NULL: none yet */
	uint32_t handle;		    /* of the image, on that connection */
	bool stopped;
	bool connecting; /* one thread makes a new one, others wait for it */
	bool opened;	 /* once: what follows is the image from then on */
	struct digest manifest;
	uint8_t descriptor[DESCRIPTOR_SIZE];
};

/* A host that let one request run to its deadline is not waited for as long by the next ones, until it
 * answers again: a reader of a thousand files must not wait a thousand times. */
static struct deadline read_deadline(const struct source_wire *w)
{
	unsigned int ms = w->timeout_ms;

	if (atomic_load_explicit(&w->away, memory_order_relaxed) && ms > AWAY_MIN_MS)
		ms = ms / 10 > AWAY_MIN_MS ? ms / 10 : AWAY_MIN_MS;
	return deadline_after(ms);
}

/* What a request came to: -ETIMEDOUT says that the host is away, an answer that it is not. */
static void note_result(struct source_wire *w, int r)
{
	if (r == 0 || r == -ETIMEDOUT)
		atomic_store_explicit(&w->away, r < 0, memory_order_relaxed);
}

/* Wait a little longer each time. False when that would be past the deadline. */
static bool back_off(unsigned int *ms, const struct deadline *deadline)
{
	struct timespec t;

	if ((unsigned int)deadline_left_ms(deadline) <= *ms)
		return false;
	t = (struct timespec){*ms / 1000, (long)(*ms % 1000) * 1000000};
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	*ms = *ms * 2 < BACKOFF_MAX_MS ? *ms * 2 : BACKOFF_MAX_MS;
	return true;
}

/* A named answer: what failed may work on the next attempt. */
enum { TRY_AGAIN = 1 };

/* What a broken connection means. Before the image was opened once it is final: whoever mounts wants to know
 * what is wrong with the address or the host. Afterwards only what cannot pass is final. */
static int call_result(const struct source_wire *w, int r)
{
	return r == 0 || !w->opened || r == -ENOTSUP || r == -ENOMEM ? r : TRY_AGAIN;
}

/* A status other than OK: may pass, or is the host's last word. */
static int status_result(enum wire_status status)
{
	int r = wire_status_errno(status);

	return r == -EAGAIN ? TRY_AGAIN : r;
}

/* A call with one answer. `result` is what the host decided; what is not an answer at all breaks the
 * connection. */
struct single {
	int (*accept)(struct single *s, const uint8_t *payload, size_t size, struct err *e);
	struct source_wire *w;
	void *to; /* accept's */
	size_t n;
	uint32_t handle;
	int result;
};

static int single_answer(void *arg, enum wire_status status, const uint8_t *payload, size_t size,
			 struct err *e)
{
	struct single *s = arg;
	struct wire_failure f;
	int r;

	if (status == WIRE_OK)
		return s->accept(s, payload, size, e);
	r = wire_failure_decode(&f, payload, size, e);
	if (r == 0)
		s->result = err_set(e, status_result(status), "the host says: %s", f.words);
	return r;
}

/* What the first OPEN gave is the image; a later one must give the same. */
static int accept_opened(struct single *s, const uint8_t *payload, size_t size, struct err *e)
{
	struct source_wire *w = s->w;
	struct wire_opened o;
	struct digest manifest;
	int r = wire_opened_decode(&o, payload, size, e);

	if (r == 0)
		r = sha256(&manifest, o.manifest, o.manifest_size);
	if (r < 0)
		return r;
	s->handle = o.handle;
	if (s->to)
		buf_put(s->to, o.manifest, o.manifest_size);
	/* only the connecting thread is here */
	if (!w->opened) {
		w->manifest = manifest;
		memcpy(w->descriptor, o.descriptor, DESCRIPTOR_SIZE);
		w->opened = true;
	} else if (!digest_equal(&manifest, &w->manifest) ||
		   memcmp(w->descriptor, o.descriptor, DESCRIPTOR_SIZE) != 0) {
		s->result = err_set(e, -EBADMSG, "the host has another image under the digest of this one");
	}
	return 0;
}

static int open_image(struct source_wire *w, struct wire_connection *c, struct buf *manifest,
		      uint32_t *handle, const struct deadline *deadline, struct err *e)
{
	struct single s = {.accept = accept_opened, .w = w, .to = manifest};
	struct reference reference = w->reference;
	char text[REFERENCE_TEXT_SIZE];
	cleanup_buf struct buf payload;
	int r;

	if (w->opened) {
		reference.tag[0] = '\0';
		reference.has_digest = true;
		reference.digest = w->manifest;
	}
	(void)reference_text(&reference, text);
	buf_init(&payload, WIRE_MAX_PAYLOAD);
	wire_open_encode(&payload, text, strlen(text));
	if (buf_failed(&payload))
		return err_set(e, -ENOMEM, "out of memory");
	r = wire_call(c,
		      &(struct wire_call){.type = WIRE_OPEN,
					  .payload = &payload,
					  .n_answers = 1,
					  .max_payload = 8 + MAX_MANIFEST_SIZE + DESCRIPTOR_SIZE,
					  .answer = single_answer,
					  .arg = &s},
		      deadline, e);
	if (r < 0)
		return call_result(w, r);
	if (s.result == 0)
		*handle = s.handle;
	return s.result;
}

/* Make a connection and open the image on it. Only one thread is here at a time. */
static int make_connection(struct source_wire *w, struct buf *manifest, const struct deadline *deadline,
			   struct err *e)
{
	struct wire_connection *c, *old;
	uint32_t handle = 0;
	int r = wire_connect(&c, &w->address, deadline, e);

	if (r < 0)
		return call_result(w, r);
	r = open_image(w, c, manifest, &handle, deadline, e);
	if (r != 0) {
		wire_connection_unref(c);
		return r;
	}
	pthread_mutex_lock(&w->lock);
	old = w->connection;
	w->connection = c;
	w->handle = handle;
	pthread_mutex_unlock(&w->lock);
	wire_connection_unref(old);
	return 0;
}

/* A connection that works, as far as is known. The caller unrefs it. */
static int get_connection(struct source_wire *w, struct wire_connection **out, uint32_t *handle,
			  const struct deadline *deadline, struct err *e)
{
	int r = 0;

	pthread_mutex_lock(&w->lock);
	while (r == 0 && !w->stopped && (!w->connection || wire_connection_broken(w->connection))) {
		if (w->connecting) {
			if (pthread_cond_clockwait(&w->changed, &w->lock, CLOCK_MONOTONIC, &deadline->at) !=
			    0)
				r = err_set(e, -ETIMEDOUT, "no connection to the host");
			continue;
		}
		w->connecting = true;
		pthread_mutex_unlock(&w->lock);
		r = make_connection(w, NULL, deadline, e);
		pthread_mutex_lock(&w->lock);
		w->connecting = false;
		pthread_cond_broadcast(&w->changed);
	}
	if (r == 0 && w->stopped)
		r = err_set(e, -ESHUTDOWN, "the image is being closed");
	if (r == 0) {
		*out = wire_connection_ref(w->connection);
		*handle = w->handle;
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

static int wire_source_open(struct source *source, struct buf *manifest,
			    uint8_t descriptor[static DESCRIPTOR_SIZE], struct err *e)
{
	struct source_wire *w = (struct source_wire *)source;
	struct deadline deadline = deadline_after(w->timeout_ms);
	unsigned int backoff = BACKOFF_FIRST_MS;
	int r;

	do {
		r = make_connection(w, manifest, &deadline, e);
	} while (r == TRY_AGAIN && back_off(&backoff, &deadline));
	if (r == TRY_AGAIN)
		r = -ETIMEDOUT;
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

static int read_index_once(struct source_wire *w, void *to, uint32_t n, uint64_t offset,
			   const struct deadline *deadline, struct err *e)
{
	struct single s = {.accept = accept_bytes, .w = w, .to = to, .n = n};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	uint32_t handle;
	int r = get_connection(w, &c, &handle, deadline, e);

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
	struct source_wire *w = (struct source_wire *)source;
	struct deadline deadline = read_deadline(w);
	unsigned int backoff = BACKOFF_FIRST_MS;
	uint8_t *p = to;

	while (n > 0) {
		uint32_t part = n < WIRE_MAX_INDEX_READ ? (uint32_t)n : WIRE_MAX_INDEX_READ;
		int r = read_index_once(w, p, part, offset, &deadline, e);

		if (r == TRY_AGAIN && back_off(&backoff, &deadline))
			continue;
		if (r == TRY_AGAIN)
			r = -ETIMEDOUT;
		note_result(w, r);
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

static int read_chunks_once(struct source_wire *w, struct chunks *q, bool ahead,
			    const struct deadline *deadline, struct err *e)
{
	struct wire_chunks request = {.ahead = ahead};
	struct wire_call call = {.type = WIRE_CHUNKS, .answer = chunk_answer, .arg = q};
	struct wire_connection *c;
	cleanup_buf struct buf payload;
	int r = get_connection(w, &c, &request.handle, deadline, e);

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
	struct source_wire *w = (struct source_wire *)source;
	struct deadline deadline = read_deadline(w);
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
			note_result(w, 0);
		} else if (r >= 0 && !back_off(&backoff, &deadline)) {
			r = -ETIMEDOUT;
			note_result(w, r);
		}
	}
	if (q.n_pending == n)
		return r;
	for (size_t k = 0; k < q.n_pending; k++)
		arrival(arg, q.pending[k], NULL, r);
	return 0;
}

/* Who waits for an answer is told by the break, who waits for its turn meets the mark. */
static void wire_source_stop(struct source *source)
{
	struct source_wire *w = (struct source_wire *)source;

	pthread_mutex_lock(&w->lock);
	w->stopped = true;
	if (w->connection)
		wire_connection_break(w->connection);
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

static void wire_source_close(struct source *source)
{
	struct source_wire *w = (struct source_wire *)source;

	wire_connection_unref(w->connection);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
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
	struct source_wire *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	w->source.ops = &wire_source_ops;
	w->reference = *options->reference;
	w->timeout_ms = options->timeout_ms ? options->timeout_ms : SOURCE_WIRE_TIMEOUT_MS;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	r = address_parse(&w->address, options->address, e);
	if (r == 0 && w->reference.layout)
		r = err_set(e, -EINVAL, "a host is asked for images of a registry, not for oci:DIR");
	if (r < 0) {
		wire_source_close(&w->source);
		return r;
	}
	*out = &w->source;
	return 0;
}
