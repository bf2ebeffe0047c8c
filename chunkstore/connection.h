/* SPDX-License-Identifier: Apache-2.0
 * One guest's connection. A reader thread takes requests and decides what each answer needs; a writer thread
 * sends what is ready. In between are jobs, one for each answer, bounded in number. Internal to the chunk
 * server.
 *
 *   request ─▶ in the cache? ─ yes ─▶ ready ─▶ sent
 *                  └ no ─▶ waiting (over max_fetch_bytes) ─▶ fetching ─▶ ready
 *
 * Locks: the fetcher's, then a connection's. */
#ifndef COCOON_CHUNKSTORE_CONNECTION_H
#define COCOON_CHUNKSTORE_CONNECTION_H

#include "chunkstore/chunk_server.h"
#include "chunkstore/frame_reader.h"
#include "chunkstore/guest_stream.h"
#include "chunkstore/origin.h"
#include "chunkstore/peer.h"
#include "proto/wire/wire.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#define BUSY_MARGIN 16u /* requests over max_open that are answered BUSY before reading stops */

/* What all connections share. */
struct serving {
	struct chunkstore *store;
	struct chunk_server_config config; /* with all defaults filled in */
	atomic_ullong accepted, refused, broken, requests, failures, chunks, bytes;
	atomic_llong log_second; /* lines of one second are counted ... */
	atomic_uint log_lines;	 /* ... and few of them written */
};

enum { DEMAND, AHEAD, N_CLASSES };

struct request {
	uint64_t id;
	enum wire_type type;
	uint32_t answers_left;
	struct request *next;
};

enum job_kind { JOB_WELCOME, JOB_OPENED, JOB_INDEX, JOB_CHUNK, JOB_FAILURE, JOB_BUSY };

struct handle {
	struct stored_image *image;
	struct origin *origin;
};

struct job {
	enum job_kind kind;
	enum wire_status status; /* of a failure */
	struct request *request;
	const struct handle *handle;
	uint32_t number; /* OPENED: the handle; CHUNK, FAILURE: the chunk */
	int class;	 /* DEMAND or AHEAD */
	unsigned tries;	 /* CHUNK: fetched and gone again */
	struct wire_index index;
	struct wire_chunks *refused; /* BUSY: owned */
	char *words;		     /* FAILURE: owned, or NULL */
	struct fetch fetch;
	struct connection *connection;
	struct job *next, *prev;
};

struct jobs {
	struct job *first, *last;
};

struct connection {
	struct serving *serving;
	struct guest_stream stream;
	struct peer peer; /* its name is whole once the reader thread has begun to read */
	struct frame_reader reader;
	pthread_t reader_thread, writer_thread;
	atomic_bool met;      /* it is no stranger any more: TLS is agreed upon, or not spoken */
	atomic_bool finished; /* set last by the reader thread; the server joins it then */
	struct connection *next;

	/* the reader's own */
	bool greeted;
	struct handle handles[WIRE_MAX_HANDLES];
	uint32_t n_handles;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;  /* for the writer */
	pthread_cond_t room;  /* for the reader */
	bool closing;
	struct request *requests;
	unsigned n_open, n_jobs;
	struct jobs ready[N_CLASSES], waiting[N_CLASSES], fetching;
	uint64_t fetch_bytes;
};

/* connection.c */
/* In TLS when `tls` is not NULL, which is borrowed, as `serving` is. `fd` is owned from now on, also when it
 * fails: -ENOMEM, -EAGAIN. */
int connection_start(struct connection **out, struct serving *serving, int fd, const struct peer *peer,
		     const struct tls_endpoint *tls);
/* Whether a line that a guest causes may be written: all guests together have a hundred in a second. */
bool serving_may_log(struct serving *s);
/* The connection ends by the guest's fault: count it and say so. */
void connection_complain(struct connection *c, const char *words);
void connection_shutdown(struct connection *c); /* both threads end soon */
void connection_join(struct connection *c);	/* waits, then frees */

/* request.c: the reader thread's work. Takes one request. 0, or a negative errno that ends the connection. */
int take_request(struct connection *c, const struct wire_header *h, const uint8_t *p, struct err *e);
void handle_release(struct handle *h);

/* answer.c: the writer thread's work. */
void *answer_thread(void *connection);
/* Hand a job to the writer. Under the lock. */
void job_ready(struct connection *c, struct job *j);
/* A chunk that is not in the cache: to be fetched. Under the lock. */
void job_wait(struct connection *c, struct job *j);
/* As much of what waits as may be fetched now. Takes the lock. */
void fetch_waiting(struct connection *c);
void job_free(struct job *j);

static inline void jobs_add(struct jobs *q, struct job *j)
{
	j->next = NULL;
	j->prev = q->last;
	*(q->last ? &q->last->next : &q->first) = j;
	q->last = j;
}

static inline void jobs_remove(struct jobs *q, struct job *j)
{
	*(j->prev ? &j->prev->next : &q->first) = j->next;
	*(j->next ? &j->next->prev : &q->last) = j->prev;
}

#endif
