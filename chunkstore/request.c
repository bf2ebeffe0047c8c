/* SPDX-License-Identifier: Apache-2.0
 * Taking requests: what each answer needs is decided here, and everything a guest can make us hold is counted
 * before it is taken. Beyond a limit a request is answered BUSY, or we stop reading until answers are gone.
 */
#include "chunkstore/connection.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <string.h>

/* A request with n answers to come; NULL: no memory. */
static struct request *request_new(const struct wire_header *h, uint32_t n)
{
	struct request *q = calloc(1, sizeof(*q));

	if (q)
		*q = (struct request){.id = h->id, .type = h->type, .answers_left = n};
	return q;
}

static struct job *job_new(struct connection *c, enum job_kind kind, struct request *q)
{
	struct job *j = calloc(1, sizeof(*j));

	if (j) {
		j->kind = kind;
		j->request = q;
		j->connection = c;
	}
	return j;
}

/* Count the request and its n jobs. Under the lock. */
static void open_request(struct connection *c, struct request *q, unsigned n)
{
	q->next = c->requests;
	c->requests = q;
	c->n_open++;
	c->n_jobs += n;
	(void)atomic_fetch_add_explicit(&c->serving->requests, 1, memory_order_relaxed);
}

/* A request with one answer. */
static int answer_with(struct connection *c, const struct wire_header *h, struct job *made)
{
	struct request *q = request_new(h, 1);

	if (!q || !made) {
		free(q);
		if (made)
			job_free(made);
		return -ENOMEM;
	}
	made->request = q;
	(void)pthread_mutex_lock(&c->lock);
	open_request(c, q, 1);
	job_ready(c, made);
	(void)pthread_mutex_unlock(&c->lock);
	return 0;
}

static int answer_failure(struct connection *c, const struct wire_header *h, enum wire_status status,
			  const char *words)
{
	struct job *j = job_new(c, JOB_FAILURE, NULL);

	if (j) {
		j->status = status;
		j->words = strndup(words, WIRE_MAX_WORDS);
	}
	return answer_with(c, h, j);
}

/* Each chunk of the request fails in the same way. */
static int answer_all_chunks(struct connection *c, const struct wire_header *h,
			     const struct wire_chunks *chunks, enum wire_status status, const char *words)
{
	struct job *j = job_new(c, JOB_BUSY, NULL);

	if (j) {
		j->status = status;
		j->words = strndup(words, WIRE_MAX_WORDS);
		j->refused = malloc(sizeof(*chunks));
		if (j->refused)
			*j->refused = *chunks;
	}
	if (j && !j->refused) {
		job_free(j);
		return -ENOMEM;
	}
	return answer_with(c, h, j);
}

static int take_hello(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	uint8_t frame[WIRE_HEADER_SIZE + 4];
	int r = wire_hello_decode(p, h->size, e);

	if (r == -ENOTSUP) {
		/* nothing else was sent yet: the writer is idle */
		const struct wire_header answer = {4, WIRE_HELLO, WIRE_UNSUPPORTED, h->id};

		wire_header_encode(&answer, frame);
		memset(frame + WIRE_HEADER_SIZE, 0, 4);
		(void)guest_stream_send(&c->stream, frame, sizeof(frame), false);
	}
	if (r < 0)
		return r;
	c->greeted = true;
	return answer_with(c, h, job_new(c, JOB_WELCOME, NULL));
}

static bool registry_is_allowed(const struct connection *c, const char *registry)
{
	const struct chunk_server_config *config = &c->serving->config;

	for (size_t i = 0; i < config->n_registries; i++)
		if (strcmp(config->registries[i], registry) == 0)
			return true;
	return config->n_registries == 0;
}

static enum wire_status open_status(int r)
{
	switch (-r) {
	case ENOENT:
		return WIRE_NOT_FOUND;
	case EACCES:
		return WIRE_DENIED;
	case EAGAIN:
	case ETIMEDOUT:
	case ECANCELED:
		return WIRE_UNAVAILABLE;
	case EBUSY:
		return WIRE_BUSY;
	case EINVAL:
	case EUCLEAN:
	case EBADMSG:
	case EBADE:
	case E2BIG:
		return WIRE_INVALID;
	case ENOTSUP:
		return WIRE_UNSUPPORTED;
	default:
		return WIRE_INTERNAL;
	}
}

/* The image behind the text, with its origin. */
static int open_image(struct connection *c, const char *text, struct handle *out, struct err *e)
{
	struct handle h = {0};
	struct reference ref;
	int r = reference_parse(&ref, text, e);

	if (r < 0)
		return r;
	if (!registry_is_allowed(c, ref.registry))
		return err_set(e, -EACCES, "%s: this host serves no images from there", ref.registry);
	r = image_store_get(c->serving->store->images, &ref, &h.image, e);
	if (r == IMAGE_NOT_SEALED)
		return err_set(e, -ENOTSUP, "%s/%s: not a sealed image", ref.registry, ref.repository);
	if (r < 0)
		return r;
	r = origin_new(&h.origin, &ref);
	if (r < 0) {
		image_put(h.image);
		return err_set(e, r, "out of memory");
	}
	*out = h;
	return 0;
}

void handle_release(struct handle *h)
{
	image_put(h->image);
	origin_unref(h->origin);
}

/* The same image from the same place has the same handle. */
static uint32_t find_handle(const struct connection *c, const struct handle *h)
{
	uint32_t i = 0;

	while (i < c->n_handles && !(digest_equal(&c->handles[i].image->digest, &h->image->digest) &&
				     digest_equal(&c->handles[i].origin->name, &h->origin->name)))
		i++;
	return i;
}

static void log_opened(struct connection *c, const struct handle *h, const char *reference)
{
	char manifest[DIGEST_TEXT_SIZE];

	if (serving_may_log(c->serving))
		log_info("image opened peer=%s image=%s manifest=%s", c->peer.name, reference,
			 digest_text(&h->image->digest, manifest));
}

static int take_open(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	char text[WIRE_MAX_REFERENCE + 1];
	struct err why = {""};
	struct handle handle;
	const char *reference;
	struct job *j;
	uint32_t i;
	size_t n;
	int r = wire_open_decode(&reference, &n, p, h->size, e);

	if (r < 0)
		return r;
	memcpy(text, reference, n);
	text[n] = '\0';
	r = open_image(c, text, &handle, &why);
	if (r < 0)
		return answer_failure(c, h, open_status(r), why.text);
	i = find_handle(c, &handle);
	if (i < c->n_handles) {
		handle_release(&handle);
	} else if (i < WIRE_MAX_HANDLES) {
		c->handles[c->n_handles++] = handle;
		log_opened(c, &handle, text);
	} else {
		handle_release(&handle);
		return answer_failure(c, h, WIRE_BUSY, "too many images are open");
	}
	j = job_new(c, JOB_OPENED, NULL);
	if (j) {
		j->number = i;
		j->handle = &c->handles[i];
	}
	return answer_with(c, h, j);
}

static int take_index(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	const struct handle *handle;
	struct wire_index q;
	struct job *j;
	int r = wire_index_decode(&q, p, h->size, e);

	if (r < 0)
		return r;
	if (q.handle >= c->n_handles)
		return answer_failure(c, h, WIRE_INVALID, "no such handle");
	handle = &c->handles[q.handle];
	if (q.offset > handle->image->descriptor.meta_offset ||
	    q.length > handle->image->descriptor.meta_offset - q.offset)
		return answer_failure(c, h, WIRE_INVALID, "past the public part of the index");
	j = job_new(c, JOB_INDEX, NULL);
	if (j) {
		j->handle = handle;
		j->index = q;
	}
	return answer_with(c, h, j);
}

/* One chunk of a request. */
static struct job *chunk_job(struct connection *c, struct request *q, const struct handle *handle,
			     uint32_t number, bool ahead)
{
	struct job *j = job_new(c, JOB_CHUNK, q);
	struct err why = {""};
	int r;

	if (!j)
		return NULL;
	j->handle = handle;
	j->number = number;
	j->class = ahead ? AHEAD : DEMAND;
	r = image_chunk(handle->image, number, &j->fetch.entry, &why);
	if (r < 0) {
		j->kind = JOB_FAILURE;
		j->status = open_status(r);
		j->words = strndup(why.text, WIRE_MAX_WORDS);
	} else {
		j->fetch.blob = handle->image->oci.layers[j->fetch.entry.blob].digest;
		j->fetch.ahead = ahead;
	}
	return j;
}

static int take_chunks(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	struct jobs made = {NULL, NULL};
	struct wire_chunks chunks;
	const struct handle *handle;
	struct request *q;
	uint32_t n = 0;
	bool missing = false, room = true;
	int r = wire_chunks_decode(&chunks, p, h->size, e);

	if (r < 0)
		return r;
	if (chunks.handle >= c->n_handles)
		return answer_all_chunks(c, h, &chunks, WIRE_INVALID, "no such handle");
	handle = &c->handles[chunks.handle];
	for (uint32_t i = 0; i < chunks.n_runs; i++)
		n += chunks.runs[i].count;
	q = request_new(h, n);
	for (uint32_t i = 0; q && room && i < chunks.n_runs; i++) {
		for (uint32_t k = 0; room && k < chunks.runs[i].count; k++) {
			struct job *j = chunk_job(c, q, handle, chunks.runs[i].first + k, chunks.ahead);

			room = j != NULL;
			if (j)
				jobs_add(&made, j);
		}
	}

	(void)pthread_mutex_lock(&c->lock);
	while (q && room && !c->closing && c->n_jobs > 0 && c->n_jobs + n > c->serving->config.max_chunks)
		(void)pthread_cond_wait(&c->room, &c->lock);
	if (q && room)
		open_request(c, q, n);
	while (made.first) {
		struct job *j = made.first;

		jobs_remove(&made, j);
		if (!q || !room) {
			job_free(j);
		} else if (j->kind == JOB_FAILURE ||
			   chunk_cache_has(c->serving->store->cache, &j->fetch.entry.id)) {
			job_ready(c, j);
		} else {
			job_wait(c, j);
			missing = true;
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (!q || !room) {
		free(q);
		return -ENOMEM;
	}
	if (missing)
		fetch_waiting(c);
	return 0;
}

/* Wait until a request may be taken; *busy when it is over the limit of open ones, which the guest knows only
 * when HELLO is answered. -EPROTO for an id in use. */
static int admit(struct connection *c, const struct wire_header *h, bool *busy, struct err *e)
{
	unsigned max = c->serving->config.max_open, hello = 0;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	while (!c->closing && c->n_open >= max + BUSY_MARGIN)
		(void)pthread_cond_wait(&c->room, &c->lock);
	for (const struct request *q = c->requests; q; q = q->next) {
		if (q->id == h->id)
			r = -EPROTO;
		hello += q->type == WIRE_HELLO;
	}
	*busy = c->n_open - hello >= max;
	if (c->closing)
		r = -ECANCELED;
	(void)pthread_mutex_unlock(&c->lock);
	return r == -EPROTO ? err_set(e, r, "id %llu is still open", (unsigned long long)h->id) : r;
}

static int refuse_busy(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	struct wire_chunks chunks;
	int r;

	if (h->type != WIRE_CHUNKS)
		return answer_failure(c, h, WIRE_BUSY, "too many open requests");
	r = wire_chunks_decode(&chunks, p, h->size, e);
	return r < 0 ? r : answer_all_chunks(c, h, &chunks, WIRE_BUSY, "too many open requests");
}

int take_request(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e)
{
	bool busy;
	int r;

	if ((h->type == WIRE_HELLO) == c->greeted)
		return err_set(e, -EPROTO, c->greeted ? "a second hello" : "a request before hello");
	r = admit(c, h, &busy, e);
	if (r < 0)
		return r;
	if (busy)
		return refuse_busy(c, h, p, e);
	switch (h->type) {
	case WIRE_HELLO:
		return take_hello(c, h, p, e);
	case WIRE_OPEN:
		return take_open(c, h, p, e);
	case WIRE_INDEX:
		return take_index(c, h, p, e);
	case WIRE_CHUNKS:
		return take_chunks(c, h, p, e);
	}
	return -EPROTO;
}
