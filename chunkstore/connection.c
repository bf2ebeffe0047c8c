/* SPDX-License-Identifier: Apache-2.0
 * The life of a connection: two threads are started, the reader ends first or is made to, then the writer,
 * then what was being fetched for nobody but this guest. */
#include "chunkstore/connection.h"
#include "chunkstore/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREAD_STACK (512u << 10)
#define MAX_LINES 100u /* a second, of all guests together */

bool serving_may_log(struct serving *s)
{
	long long second = now_ms() / 1000;

	if (atomic_exchange(&s->log_second, second) != second)
		atomic_store(&s->log_lines, 0);
	return atomic_fetch_add(&s->log_lines, 1) < MAX_LINES;
}

void connection_complain(struct connection *c, const char *words)
{
	(void)atomic_fetch_add(&c->serving->broken, 1);
	if (serving_may_log(c->serving))
		log_warn("connection ended peer=%s: %s", c->peer.name, words);
}

static bool is_closing(struct connection *c)
{
	bool closing;

	(void)pthread_mutex_lock(&c->lock);
	closing = c->closing;
	(void)pthread_mutex_unlock(&c->lock);
	return closing;
}

static void free_jobs(struct jobs *q)
{
	while (q->first) {
		struct job *j = q->first;

		jobs_remove(q, j);
		job_free(j);
	}
}

/* Nobody else works on the connection but the fetcher. */
static void abandon_fetches(struct connection *c)
{
	for (;;) {
		struct job *j;

		(void)pthread_mutex_lock(&c->lock);
		j = c->fetching.first;
		(void)pthread_mutex_unlock(&c->lock);
		if (!j)
			return;
		fetcher_cancel(c->serving->store->fetcher, &j->fetch);
		(void)pthread_mutex_lock(&c->lock);
		if (c->fetching.first == j) { /* it did not land in between */
			jobs_remove(&c->fetching, j);
			jobs_add(&c->waiting[DEMAND], j);
		}
		(void)pthread_mutex_unlock(&c->lock);
	}
}

/* Who is it? With TLS that is agreed upon first; the writer has nothing to send yet. */
static int meet(struct connection *c, struct err *e)
{
	int r = 0;

	if (c->stream.tls) {
		r = guest_stream_handshake(&c->stream, c->serving->config.handshake_ms, e);
		if (r < 0)
			return r;
		peer_add_key(&c->peer, tls_peer(c->stream.tls));
	}
	atomic_store(&c->met, true);
	if (serving_may_log(c->serving))
		log_info("guest connected peer=%s", c->peer.name);
	return 0;
}

static void *read_thread(void *arg)
{
	struct connection *c = arg;
	struct wire_header h;
	const uint8_t *payload;
	struct err e = {""};
	int r = meet(c, &e);

	while (r == 0) {
		r = frame_reader_next(&c->reader, &h, &payload, &e);
		if (r == 0)
			r = take_request(c, &h, payload, &e);
	}
	if (r < 0 && r != -ECONNRESET && !is_closing(c))
		connection_complain(c, e.text[0] ? e.text : "out of memory");
	connection_shutdown(c);
	(void)pthread_join(c->writer_thread, NULL);
	abandon_fetches(c);
	atomic_store(&c->finished, true);
	return NULL;
}

void connection_shutdown(struct connection *c)
{
	(void)pthread_mutex_lock(&c->lock);
	c->closing = true;
	(void)pthread_cond_signal(&c->work);
	(void)pthread_cond_signal(&c->room);
	(void)pthread_mutex_unlock(&c->lock);
	(void)shutdown(c->stream.fd, SHUT_RDWR);
}

static void connection_free(struct connection *c)
{
	for (int i = 0; i < N_CLASSES; i++) {
		free_jobs(&c->ready[i]);
		free_jobs(&c->waiting[i]);
	}
	while (c->requests) {
		struct request *q = c->requests;

		c->requests = q->next;
		free(q);
	}
	for (uint32_t i = 0; i < c->n_handles; i++)
		handle_release(&c->handles[i]);
	guest_stream_close(&c->stream);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_cond_destroy(&c->work);
	(void)pthread_cond_destroy(&c->room);
	free(c);
}

void connection_join(struct connection *c)
{
	(void)pthread_join(c->reader_thread, NULL);
	connection_free(c);
}

static int start_threads(struct connection *c)
{
	pthread_attr_t attributes;
	int r;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, THREAD_STACK);
	r = pthread_create(&c->writer_thread, &attributes, answer_thread, c);
	if (r == 0) {
		r = pthread_create(&c->reader_thread, &attributes, read_thread, c);
		if (r != 0) {
			connection_shutdown(c);
			(void)pthread_join(c->writer_thread, NULL);
		}
	}
	(void)pthread_attr_destroy(&attributes);
	return -r;
}

int connection_start(struct connection **out, struct serving *serving, int fd, const struct peer *peer,
		     const struct tls_endpoint *tls)
{
	struct connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		(void)close(fd);
		return -ENOMEM;
	}
	r = guest_stream_open(&c->stream, fd, tls, serving->config.stall_ms);
	if (r < 0) {
		free(c);
		return r;
	}
	c->serving = serving;
	c->reader.stream = &c->stream;
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->work, NULL);
	(void)pthread_cond_init(&c->room, NULL);
	c->peer = *peer;
	r = start_threads(c);
	if (r < 0) {
		connection_free(c);
		return r;
	}
	*out = c;
	return 0;
}
