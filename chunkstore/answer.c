/* SPDX-License-Identifier: Apache-2.0
 * Sending answers. Only this thread writes to the connection, so frames never mix; chunks go from the page
 * cache to the socket without passing through us. */
#include "chunkstore/connection.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_TRIES 3u
#define FETCH_BATCH 256u

void job_free(struct job *j)
{
	free(j->refused);
	free(j->words);
	free(j);
}

void job_ready(struct connection *c, struct job *j)
{
	jobs_add(&c->ready[j->class], j);
	(void)pthread_cond_signal(&c->work);
}

void job_wait(struct connection *c, struct job *j)
{
	jobs_add(&c->waiting[j->class], j);
}

static enum wire_status status_of(int error)
{
	switch (-error) {
	case ENOENT:
		return WIRE_NOT_FOUND;
	case EACCES:
		return WIRE_DENIED;
	case EAGAIN:
	case ETIMEDOUT:
	case ECANCELED:
		return WIRE_UNAVAILABLE;
	case EBADMSG:
	case EBADE:
	case EUCLEAN:
		return WIRE_INVALID;
	default:
		return WIRE_INTERNAL;
	}
}

/* Called by the fetcher, under its lock. */
static void fetched(struct fetch *f, int error, const char *words)
{
	struct job *j = (struct job *)((char *)f - offsetof(struct job, fetch));
	struct connection *c = j->connection;

	(void)pthread_mutex_lock(&c->lock);
	jobs_remove(&c->fetching, j);
	c->fetch_bytes -= f->entry.stored_size;
	if (error < 0) {
		j->kind = JOB_FAILURE;
		j->status = status_of(error);
		j->words = strdup(words);
	}
	job_ready(c, j);
	(void)pthread_mutex_unlock(&c->lock);
}

/* Under the lock: the next one that fits under max_fetch_bytes, of `origin` unless that is NULL. A single one
 * always fits. */
static struct job *next_waiting(struct connection *c, const struct origin *origin)
{
	struct job *j = c->waiting[DEMAND].first ? c->waiting[DEMAND].first : c->waiting[AHEAD].first;

	if (!j || c->closing || (origin && j->handle->origin != origin))
		return NULL;
	if (c->fetch_bytes > 0 &&
	    c->fetch_bytes + j->fetch.entry.stored_size > c->serving->config.max_fetch_bytes)
		return NULL;
	jobs_remove(&c->waiting[j->class], j);
	jobs_add(&c->fetching, j);
	c->fetch_bytes += j->fetch.entry.stored_size;
	return j;
}

void fetch_waiting(struct connection *c)
{
	struct fetch *batch[FETCH_BATCH];
	size_t n;

	do {
		struct origin *origin = NULL;
		struct job *j;

		n = 0;
		(void)pthread_mutex_lock(&c->lock);
		while (n < FETCH_BATCH && (j = next_waiting(c, origin))) {
			origin = j->handle->origin;
			j->fetch.done = fetched;
			batch[n++] = &j->fetch;
		}
		(void)pthread_mutex_unlock(&c->lock);
		if (n > 0)
			fetcher_fetch(c->serving->store->fetcher, origin, batch, n);
	} while (n > 0);
}

static void put_header(uint8_t to[static WIRE_HEADER_SIZE], const struct job *j, enum wire_status status,
		       size_t size)
{
	struct wire_header h = {(uint32_t)size, j->request->type, status, j->request->id};

	wire_header_encode(&h, to);
}

/* The whole frame of a small answer. */
static int send_small(struct connection *c, const struct job *j, enum wire_status status,
		      const struct buf *payload)
{
	uint8_t frame[WIRE_HEADER_SIZE + 4 + WIRE_MAX_WORDS];

	if (buf_failed(payload) || payload->size > sizeof(frame) - WIRE_HEADER_SIZE)
		return -ENOMEM;
	put_header(frame, j, status, payload->size);
	memcpy(frame + WIRE_HEADER_SIZE, payload->data, payload->size);
	return guest_stream_send(&c->stream, frame, WIRE_HEADER_SIZE + payload->size, false);
}

static int send_failure(struct connection *c, const struct job *j, enum wire_status status, uint32_t number,
			const char *words)
{
	cleanup_buf struct buf payload;

	(void)atomic_fetch_add_explicit(&c->serving->failures, 1, memory_order_relaxed);
	buf_init(&payload, 4 + WIRE_MAX_WORDS);
	wire_failure_encode(&payload, number, words);
	return send_small(c, j, status, &payload);
}

static int send_welcome(struct connection *c, const struct job *j)
{
	cleanup_buf struct buf payload;

	buf_init(&payload, 64);
	wire_welcome_encode(&payload, c->serving->config.max_open);
	return send_small(c, j, WIRE_OK, &payload);
}

static int send_opened(struct connection *c, const struct job *j)
{
	const struct stored_image *i = j->handle->image;
	uint8_t head[WIRE_HEADER_SIZE + 8];
	int r;

	put_header(head, j, WIRE_OK, 8 + i->manifest.size + DESCRIPTOR_SIZE);
	put_le32(head + WIRE_HEADER_SIZE, j->number);
	put_le32(head + WIRE_HEADER_SIZE + 4, (uint32_t)i->manifest.size);
	r = guest_stream_send(&c->stream, head, sizeof(head), true);
	if (r == 0)
		r = guest_stream_send(&c->stream, i->manifest.data, i->manifest.size, true);
	if (r == 0)
		r = guest_stream_send(&c->stream, i->descriptor_raw, DESCRIPTOR_SIZE, false);
	return r;
}

static int send_index(struct connection *c, const struct job *j)
{
	uint8_t head[WIRE_HEADER_SIZE];
	int r;

	put_header(head, j, WIRE_OK, j->index.length);
	r = guest_stream_send(&c->stream, head, sizeof(head), true);
	return r < 0 ? r
		     : guest_stream_send_file(&c->stream, j->handle->image->index_fd, j->index.length,
					      j->index.offset);
}

static int send_busy(struct connection *c, const struct job *j)
{
	int r = 0;

	for (uint32_t i = 0; i < j->refused->n_runs; i++)
		for (uint32_t k = 0; k < j->refused->runs[i].count && r == 0; k++)
			r = send_failure(c, j, j->status, j->refused->runs[i].first + k,
					 j->words ? j->words : "");
	return r;
}

enum { AGAIN = 1 };

/* AGAIN: the cache had to drop it before we came to it. */
static int send_chunk(struct connection *c, struct job *j)
{
	uint32_t size = j->fetch.entry.stored_size;
	uint8_t head[WIRE_HEADER_SIZE + 4];
	cleanup_close int fd = -1;
	int r = chunk_cache_get(c->serving->store->cache, &j->fetch.entry.id, size, &fd);

	if (r == CHUNK_MISS && ++j->tries <= MAX_TRIES)
		return AGAIN;
	if (r != 0)
		return send_failure(c, j, WIRE_INTERNAL, j->number, "the chunk cache fails");
	put_header(head, j, WIRE_OK, 4 + (size_t)size);
	put_le32(head + WIRE_HEADER_SIZE, j->number);
	r = guest_stream_send(&c->stream, head, sizeof(head), true);
	if (r == 0)
		r = guest_stream_send_file(&c->stream, fd, size, 0);
	(void)atomic_fetch_add_explicit(&c->serving->chunks, 1, memory_order_relaxed);
	(void)atomic_fetch_add_explicit(&c->serving->bytes, size, memory_order_relaxed);
	return r;
}

static int send_job(struct connection *c, struct job *j)
{
	switch (j->kind) {
	case JOB_WELCOME:
		return send_welcome(c, j);
	case JOB_OPENED:
		return send_opened(c, j);
	case JOB_INDEX:
		return send_index(c, j);
	case JOB_CHUNK:
		return send_chunk(c, j);
	case JOB_FAILURE:
		return send_failure(c, j, j->status, j->number, j->words ? j->words : "");
	case JOB_BUSY:
		return send_busy(c, j);
	}
	return -EINVAL;
}

static struct job *next_ready(struct connection *c)
{
	for (int i = 0; i < N_CLASSES; i++) {
		struct job *j = c->ready[i].first;

		if (j) {
			jobs_remove(&c->ready[i], j);
			return j;
		}
	}
	return NULL;
}

/* Under the lock. */
static void close_request(struct connection *c, struct request *q)
{
	struct request **at = &c->requests;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	c->n_open--;
	(void)pthread_cond_signal(&c->room);
}

static void reopen_request(struct connection *c, struct request *q)
{
	q->next = c->requests;
	c->requests = q;
	c->n_open++;
}

/* Send one job without the lock. A request is over before its last answer leaves: the guest may use its id,
 * and its place among the open ones, as soon as that arrives. */
static int answer(struct connection *c, struct job *j)
{
	struct request *q = j->request;
	bool last = --q->answers_left == 0;
	int r;

	if (last)
		close_request(c, q);
	(void)pthread_mutex_unlock(&c->lock);
	r = send_job(c, j);
	(void)pthread_mutex_lock(&c->lock);
	if (r == AGAIN) {
		q->answers_left++;
		if (last)
			reopen_request(c, q);
		job_wait(c, j);
		return 0;
	}
	c->n_jobs--;
	job_free(j);
	if (last)
		free(q);
	(void)pthread_cond_signal(&c->room);
	return r;
}

void *answer_thread(void *arg)
{
	struct connection *c = arg;
	sigset_t pipe_signal;
	int r = 0;

	/* sendfile() has no MSG_NOSIGNAL */
	(void)sigemptyset(&pipe_signal);
	(void)sigaddset(&pipe_signal, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);

	(void)pthread_mutex_lock(&c->lock);
	while (!c->closing && r == 0) {
		struct job *j = next_ready(c);

		if (j)
			r = answer(c, j);
		if (c->waiting[DEMAND].first || c->waiting[AHEAD].first) {
			(void)pthread_mutex_unlock(&c->lock);
			fetch_waiting(c);
			(void)pthread_mutex_lock(&c->lock);
		}
		if (!j && !c->closing && !c->ready[DEMAND].first && !c->ready[AHEAD].first)
			(void)pthread_cond_wait(&c->work, &c->lock);
	}
	if (r == -ETIMEDOUT)
		connection_complain(c, "it does not read its answers");
	c->closing = true;
	(void)pthread_cond_signal(&c->room);
	(void)pthread_mutex_unlock(&c->lock);
	(void)shutdown(c->stream.fd, SHUT_RDWR);
	return NULL;
}
