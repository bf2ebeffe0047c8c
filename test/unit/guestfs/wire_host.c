/* SPDX-License-Identifier: Apache-2.0
 * One thread listens, one serves each connection, a request at a time. */
#include "wire_host.h"
#include "proto/base/io.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct served {
	struct wire_host *h;
	int fd;
};

static int send_answer(struct served *s, const struct wire_header *request, enum wire_status status,
		       const struct buf *payload)
{
	struct wire_header h = {(uint32_t)payload->size, request->type, status, request->id};
	uint8_t raw[WIRE_HEADER_SIZE];
	wire_tamper *tamper;
	unsigned int serial;
	struct buf frame;
	void *arg;
	size_t n;
	int r;

	buf_init(&frame, 1 << 22);
	wire_header_encode(&h, raw);
	buf_put(&frame, raw, sizeof(raw));
	buf_put(&frame, payload->data, payload->size);
	n = frame.size;
	pthread_mutex_lock(&s->h->lock);
	tamper = s->h->tamper;
	arg = s->h->arg;
	serial = s->h->serial++;
	pthread_mutex_unlock(&s->h->lock);
	if (tamper)
		n = tamper(arg, request->type, serial, &frame);
	r = n > 0 && n != WIRE_HOST_SWALLOW ? write_full(s->fd, frame.data, n) : 0;
	if (n != frame.size && n != WIRE_HOST_SWALLOW)
		r = -1;
	buf_deinit(&frame);
	return r;
}

static int send_failure(struct served *s, const struct wire_header *request, enum wire_status status,
			uint32_t chunk)
{
	struct buf b;
	int r;

	buf_init(&b, 1000);
	wire_failure_encode(&b, chunk, "injected");
	r = send_answer(s, request, status, &b);
	buf_deinit(&b);
	return r;
}

static int serve_open(struct served *s, const struct wire_header *q, const uint8_t *p)
{
	const struct sealed *image = s->h->other ? s->h->other : s->h->image;
	const char *reference;
	size_t n;
	struct buf b;
	int r;

	if (wire_open_decode(&reference, &n, p, q->size, NULL) < 0)
		return -1;
	pthread_mutex_lock(&s->h->lock);
	memcpy(s->h->opened, reference, n);
	s->h->opened[n] = '\0';
	pthread_mutex_unlock(&s->h->lock);
	atomic_fetch_add(&s->h->opens, 1);
	buf_init(&b, WIRE_MAX_PAYLOAD);
	wire_opened_encode(&b, &(struct wire_opened){.handle = 7,
						     .manifest = (const uint8_t *)image->manifest,
						     .manifest_size = (uint32_t)strlen(image->manifest),
						     .descriptor = image->descriptor});
	r = send_answer(s, q, WIRE_OK, &b);
	buf_deinit(&b);
	return r;
}

static int serve_index(struct served *s, const struct wire_header *q, const uint8_t *p)
{
	const struct blob *index = &s->h->image->blobs[s->h->image->n_blobs - 1];
	struct wire_index i;
	struct buf b;
	int r;

	if (wire_index_decode(&i, p, q->size, NULL) < 0 || i.handle != 7)
		return -1;
	if (i.offset > index->size || i.length > index->size - i.offset)
		return send_failure(s, q, WIRE_INVALID, 0);
	buf_init(&b, WIRE_MAX_PAYLOAD);
	buf_put(&b, index->data + i.offset, i.length);
	r = send_answer(s, q, WIRE_OK, &b);
	buf_deinit(&b);
	return r;
}

static int serve_chunk(struct served *s, const struct wire_header *q, uint32_t number)
{
	const struct sealed *image = s->h->image;
	const uint8_t *entry = image->blobs[image->n_blobs - 1].data + (size_t)number * 64;
	unsigned int busy = s->h->busy;
	struct buf b;
	int r;

	while (busy > 0)
		if (atomic_compare_exchange_weak(&s->h->busy, &busy, busy - 1))
			return send_failure(s, q, WIRE_BUSY, number);
	if (number >= image->n_chunks)
		return send_failure(s, q, WIRE_NOT_FOUND, number);
	buf_init(&b, WIRE_MAX_PAYLOAD);
	buf_le32(&b, number);
	buf_put(&b, image->blobs[get_le32(entry + 44)].data + get_le64(entry + 32), get_le32(entry + 40));
	r = send_answer(s, q, WIRE_OK, &b);
	buf_deinit(&b);
	return r;
}

static int serve_chunks(struct served *s, const struct wire_header *q, const uint8_t *p)
{
	struct wire_chunks c;
	int r = 0;

	if (wire_chunks_decode(&c, p, q->size, NULL) < 0)
		return -1;
	atomic_fetch_add(&s->h->chunk_requests, 1);
	/* the last run first: order is no promise */
	for (uint32_t k = c.n_runs; k > 0 && r == 0; k--)
		for (uint32_t j = 0; j < c.runs[k - 1].count && r == 0; j++)
			r = c.handle == 7 ? serve_chunk(s, q, c.runs[k - 1].first + j)
					  : send_failure(s, q, WIRE_INVALID, c.runs[k - 1].first + j);
	return r;
}

static int serve_one(struct served *s)
{
	uint8_t raw[WIRE_HEADER_SIZE], *p;
	struct wire_header q;
	struct buf b;
	int r = -1;

	if (read_full(s->fd, raw, sizeof(raw)) < 0 || wire_header_decode(&q, raw, true, NULL) < 0)
		return -1;
	p = malloc(q.size + 1);
	if (p && read_full(s->fd, p, q.size) == 0) {
		switch (q.type) {
		case WIRE_HELLO:
			buf_init(&b, 100);
			wire_welcome_encode(&b, 3);
			r = wire_hello_decode(p, q.size, NULL) < 0 ? -1 : send_answer(s, &q, WIRE_OK, &b);
			buf_deinit(&b);
			break;
		case WIRE_OPEN:
			r = serve_open(s, &q, p);
			break;
		case WIRE_INDEX:
			r = serve_index(s, &q, p);
			break;
		case WIRE_CHUNKS:
			r = serve_chunks(s, &q, p);
			break;
		}
	}
	free(p);
	return r;
}

static void *serve(void *arg)
{
	struct served *s = arg;

	while (serve_one(s) == 0)
		;
	pthread_mutex_lock(&s->h->lock);
	for (int k = 0; k < 64; k++)
		if (s->h->fds[k] == s->fd)
			s->h->fds[k] = -1;
	(void)close(s->fd);
	s->h->n_threads--;
	pthread_mutex_unlock(&s->h->lock);
	free(s);
	return NULL;
}

static void accept_one(struct wire_host *h)
{
	struct served *s = calloc(1, sizeof(*s));
	pthread_t t;
	int slot = 0;

	if (!s)
		abort();
	s->h = h;
	s->fd = accept(h->listener, NULL, NULL);
	if (s->fd < 0) {
		free(s);
		return;
	}
	atomic_fetch_add(&h->connections, 1);
	pthread_mutex_lock(&h->lock);
	while (slot < 63 && h->fds[slot] >= 0)
		slot++;
	h->fds[slot] = s->fd;
	h->n_threads++;
	pthread_mutex_unlock(&h->lock);
	if (pthread_create(&t, NULL, serve, s) != 0 || pthread_detach(t) != 0)
		abort();
}

static void *listen_thread(void *arg)
{
	struct wire_host *h = arg;

	while (!h->stop) {
		struct pollfd p = {.fd = h->listener, .events = POLLIN};

		if (poll(&p, 1, 20) == 1)
			accept_one(h);
	}
	return NULL;
}

void wire_host_start(struct wire_host *h, const struct sealed *image, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	*h = (struct wire_host){.image = image};
	(void)signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&h->lock, NULL);
	for (int k = 0; k < 64; k++)
		h->fds[k] = -1;
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	(void)unlink(path);
	h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->listener < 0 || bind(h->listener, (const struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(h->listener, 64) < 0 || pthread_create(&h->thread, NULL, listen_thread, h) != 0) {
		perror(path);
		abort();
	}
}

void wire_host_break(struct wire_host *h)
{
	pthread_mutex_lock(&h->lock);
	for (int k = 0; k < 64; k++)
		if (h->fds[k] >= 0)
			(void)shutdown(h->fds[k], SHUT_RDWR);
	pthread_mutex_unlock(&h->lock);
}

void wire_host_quiet(struct wire_host *h)
{
	bool busy = true;

	while (busy) {
		wire_host_break(h);
		(void)usleep(1000);
		busy = false;
		pthread_mutex_lock(&h->lock);
		busy = h->n_threads > 0;
		pthread_mutex_unlock(&h->lock);
	}
}

unsigned int wire_host_tamper(struct wire_host *h, wire_tamper *tamper, void *arg)
{
	unsigned int before;

	pthread_mutex_lock(&h->lock);
	before = h->serial;
	h->tamper = tamper;
	h->arg = arg;
	h->serial = 0;
	pthread_mutex_unlock(&h->lock);
	return before;
}

void wire_host_stop(struct wire_host *h)
{
	h->stop = true;
	pthread_join(h->thread, NULL);
	wire_host_quiet(h);
	(void)close(h->listener);
	pthread_mutex_destroy(&h->lock);
}
