/* SPDX-License-Identifier: Apache-2.0
 * The life of a connection: two threads are started, the reader ends first or is made to, then the writer,
 * then what was being fetched for nobody but this guest. */
#include "chunkstore/connection.h"
#include "chunkstore/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define THREAD_STACK (512u << 10)
#define MAX_LINES 10u /* a second, of all guests together */

bool connection_may_log(struct connection *c)
{
	long long second = now_ms() / 1000;

	if (atomic_exchange(&c->serving->log_second, second) != second)
		atomic_store(&c->serving->log_lines, 0);
	return atomic_fetch_add(&c->serving->log_lines, 1) < MAX_LINES;
}

void connection_complain(struct connection *c, const char *words)
{
	(void)atomic_fetch_add(&c->serving->broken, 1);
	if (connection_may_log(c))
		log_warn("connection ended peer=%s: %s", c->peer, words);
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

static void *read_thread(void *arg)
{
	struct connection *c = arg;
	struct wire_header h;
	const uint8_t *payload;
	struct err e = {""};
	int r;

	do {
		r = frame_reader_next(&c->reader, &h, &payload, &e);
		if (r == 0)
			r = take_request(c, &h, payload, &e);
	} while (r == 0);
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
	(void)shutdown(c->fd, SHUT_RDWR);
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
	(void)close(c->fd);
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

int connection_start(struct connection **out, struct serving *serving, int fd, const char *peer)
{
	unsigned ms = serving->config.stall_ms;
	struct timeval stall = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct connection *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		(void)close(fd);
		return -ENOMEM;
	}
	c->serving = serving;
	c->fd = fd;
	c->reader.fd = fd;
	c->reader.stall_ms = ms;
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->work, NULL);
	(void)pthread_cond_init(&c->room, NULL);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall));
	(void)snprintf(c->peer, sizeof(c->peer), "%s", peer);
	r = start_threads(c);
	if (r < 0) {
		connection_free(c);
		return r;
	}
	*out = c;
	return 0;
}
