/* SPDX-License-Identifier: Apache-2.0
 * Accept, answer until the guest goes, accept again. */
#include "host.h"
#include "proto/base/io.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_MAX ((size_t)4 << 20)

struct buf *answer_add(struct answer *a, enum wire_status status, const void *payload, size_t n)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	struct buf *f;

	if (a->n == HOST_FRAMES)
		return NULL;
	f = &a->frames[a->n++];
	f->size = 0;
	wire_header_encode(&(struct wire_header){(uint32_t)n, a->type, status, a->id}, raw);
	buf_put(f, raw, sizeof(raw));
	buf_put(f, payload, n);
	return f;
}

static void refuse(struct answer *a, uint32_t chunk, int r)
{
	struct buf b;

	buf_init(&b, 1000);
	wire_failure_encode(&b, chunk, "no");
	(void)answer_add(a, r == -EAGAIN ? WIRE_UNAVAILABLE : WIRE_NOT_FOUND, b.data, b.size);
	buf_deinit(&b);
}

static int answer_hello(struct answer *a, const uint8_t *p, size_t n)
{
	struct buf b;

	if (wire_hello_decode(p, n, NULL) < 0)
		return -EPROTO;
	buf_init(&b, 100);
	wire_welcome_encode(&b, 64);
	(void)answer_add(a, WIRE_OK, b.data, b.size);
	buf_deinit(&b);
	return 0;
}

static int answer_open(struct host *h, struct answer *a, const uint8_t *p, size_t n)
{
	const char *reference;
	size_t length;
	struct buf b;

	if (wire_open_decode(&reference, &length, p, n, NULL) < 0)
		return -EPROTO;
	buf_init(&b, WIRE_MAX_PAYLOAD);
	wire_opened_encode(&b, &(struct wire_opened){.handle = HOST_HANDLE,
						     .manifest = h->store->manifest.data,
						     .manifest_size = (uint32_t)h->store->manifest.size,
						     .descriptor = h->store->descriptor});
	(void)answer_add(a, WIRE_OK, b.data, b.size);
	buf_deinit(&b);
	return 0;
}

static int answer_index(struct host *h, struct answer *a, const uint8_t *p, size_t n)
{
	struct wire_index q;
	int r;

	if (wire_index_decode(&q, p, n, NULL) < 0)
		return -EPROTO;
	r = q.handle == HOST_HANDLE ? 0 : -ENOENT;
	if (r == 0)
		r = store_read(h->store, store_index(h->store), q.offset, h->stored, q.length);
	if (r == 0)
		(void)answer_add(a, WIRE_OK, h->stored, q.length);
	else
		refuse(a, 0, r);
	return 0;
}

static int answer_chunks(struct host *h, struct answer *a, const uint8_t *p, size_t n)
{
	struct wire_chunks q;

	if (wire_chunks_decode(&q, p, n, NULL) < 0)
		return -EPROTO;
	/* the last run first: order is no promise */
	for (uint32_t k = q.n_runs; k-- > 0;) {
		for (uint32_t j = 0; j < q.runs[k].count; j++) {
			uint32_t number = q.runs[k].first + j;
			size_t size = 0;
			int r = q.handle == HOST_HANDLE ? store_chunk(h->store, number, h->stored + 4, &size)
							: -ENOENT;

			put_le32(h->stored, number);
			if (r == 0)
				(void)answer_add(a, WIRE_OK, h->stored, 4 + size);
			else
				refuse(a, number, r);
		}
	}
	return 0;
}

static int prepare(struct host *h, const uint8_t *p, size_t n)
{
	switch (h->answer.type) {
	case WIRE_HELLO:
		return answer_hello(&h->answer, p, n);
	case WIRE_OPEN:
		return answer_open(h, &h->answer, p, n);
	case WIRE_INDEX:
		return answer_index(h, &h->answer, p, n);
	case WIRE_CHUNKS:
		return answer_chunks(h, &h->answer, p, n);
	}
	return -EPROTO;
}

static int serve_one(struct host *h, int fd)
{
	uint8_t raw[WIRE_HEADER_SIZE], payload[4096];
	struct answer *a = &h->answer;
	struct wire_header q;
	int r = read_full(fd, raw, sizeof(raw));

	if (r == 0)
		r = wire_header_decode(&q, raw, true, NULL);
	if (r == 0 && q.size > sizeof(payload))
		r = -E2BIG;
	if (r == 0)
		r = read_full(fd, payload, q.size);
	if (r < 0)
		return r;
	a->type = q.type;
	a->id = q.id;
	a->n = 0;
	a->hang_up = false;
	r = prepare(h, payload, q.size);
	if (r == 0 && h->liar)
		h->liar(h->arg, a);
	for (size_t k = 0; k < a->n && r == 0; k++)
		r = write_full(fd, a->frames[k].data, a->frames[k].size);
	return a->hang_up ? -ECONNRESET : r;
}

/* Say that the stream ends, and wait until the guest has read it and gone. */
static void end_stream(int fd)
{
	uint8_t rest[4096];

	(void)shutdown(fd, SHUT_WR);
	while (read(fd, rest, sizeof(rest)) > 0)
		;
	(void)close(fd);
}

static void set_serving(struct host *h, bool serving)
{
	pthread_mutex_lock(&h->lock);
	h->serving = serving;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

static void *host_thread(void *arg)
{
	struct host *h = arg;

	for (;;) {
		int fd = accept(h->listener, NULL, NULL);

		if (fd < 0)
			return NULL; /* host_stop() shut it down */
		set_serving(h, true);
		atomic_fetch_add(&h->connections, 1);
		while (serve_one(h, fd) == 0)
			;
		end_stream(fd);
		set_serving(h, false);
	}
}

void host_start(struct host *h, const struct store *store, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memset(h, 0, sizeof(*h));
	h->store = store;
	for (size_t k = 0; k < HOST_FRAMES; k++)
		buf_init(&h->answer.frames[k], FRAME_MAX);
	(void)signal(SIGPIPE, SIG_IGN);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	(void)unlink(path);
	h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->listener < 0 || bind(h->listener, (const struct sockaddr *)&un, sizeof(un)) < 0 ||
	    listen(h->listener, 64) < 0 || pthread_create(&h->thread, NULL, host_thread, h) != 0) {
		perror(path);
		abort();
	}
}

void host_wait_quiet(struct host *h)
{
	pthread_mutex_lock(&h->lock);
	while (h->serving)
		pthread_cond_wait(&h->changed, &h->lock);
	pthread_mutex_unlock(&h->lock);
}

void host_stop(struct host *h)
{
	(void)shutdown(h->listener, SHUT_RDWR);
	pthread_join(h->thread, NULL);
	(void)close(h->listener);
	for (size_t k = 0; k < HOST_FRAMES; k++)
		buf_deinit(&h->answer.frames[k]);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
}
