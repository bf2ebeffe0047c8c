/* SPDX-License-Identifier: Apache-2.0
 * A ring of slots. The producer fills the slot at `tail`, workers claim at `next` and the producer delivers
 * at `head`: head <= next <= tail, at most one ring apart. */
#include "publisher/seal_pool.h"
#include "proto/format/format.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_PER_THREAD 3u

struct slot {
	uint8_t *plain;	 /* SEAL_POOL_CHUNK */
	uint8_t *stored; /* SEAL_POOL_CHUNK + room for header, padding and tag */
	size_t n;
	struct sealed_chunk chunk;
	int error;
	bool done;
};

#define STORED_ROOM (SEAL_POOL_CHUNK + 65536u)

struct seal_pool {
	struct seal_options options;
	const struct secret *prk; /* borrowed; changes only while nothing is under way */
	seal_result *result;
	void *arg;
	int error; /* of the stream so far; the producer's */

	struct slot *slots;
	size_t n_slots;
	pthread_t *threads;
	unsigned n_threads;

	pthread_mutex_t lock; /* guards what follows, and slots[].done */
	pthread_cond_t work, done;
	uint64_t head, next, tail;
	bool stop;
};

static void seal_slot(struct chunk_sealer *s, const struct secret *prk, struct slot *slot)
{
	const uint8_t *stored;

	slot->error = chunk_seal(s, prk, slot->plain, slot->n, &slot->chunk, &stored);
	if (slot->error == 0)
		memcpy(slot->stored, stored, slot->chunk.stored_size);
}

struct worker {
	struct seal_pool *pool;
	struct chunk_sealer *sealer;
};

static void *work(void *arg)
{
	struct worker w = *(struct worker *)arg;
	struct seal_pool *p = w.pool;

	free(arg);
	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		struct slot *slot;

		while (!p->stop && p->next == p->tail)
			(void)pthread_cond_wait(&p->work, &p->lock);
		if (p->stop)
			break;
		slot = &p->slots[p->next++ % p->n_slots];
		(void)pthread_mutex_unlock(&p->lock);
		seal_slot(w.sealer, p->prk, slot);
		(void)pthread_mutex_lock(&p->lock);
		slot->done = true;
		(void)pthread_cond_signal(&p->done);
	}
	(void)pthread_mutex_unlock(&p->lock);
	chunk_sealer_free(w.sealer);
	return NULL;
}

static int start_worker(struct seal_pool *p)
{
	struct worker *w = malloc(sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->pool = p;
	r = chunk_sealer_new(&w->sealer, &p->options);
	if (r == 0) {
		r = -pthread_create(&p->threads[p->n_threads], NULL, work, w);
		if (r < 0)
			chunk_sealer_free(w->sealer);
	}
	if (r < 0)
		free(w);
	else
		p->n_threads++;
	return r;
}

static int make_slots(struct seal_pool *p)
{
	p->slots = calloc(p->n_slots, sizeof(*p->slots));
	if (!p->slots)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_slots; i++) {
		p->slots[i].plain = malloc(SEAL_POOL_CHUNK);
		p->slots[i].stored = malloc(STORED_ROOM);
		if (!p->slots[i].plain || !p->slots[i].stored)
			return -ENOMEM;
	}
	return 0;
}

int seal_pool_new(struct seal_pool **out, unsigned n_threads, const struct seal_options *o, struct err *e)
{
	struct seal_pool *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->work, NULL);
	(void)pthread_cond_init(&p->done, NULL);
	p->options = *o;
	p->n_slots = (size_t)n_threads * SLOTS_PER_THREAD + 1;
	p->threads = calloc(n_threads, sizeof(*p->threads));
	r = p->threads ? make_slots(p) : -ENOMEM;
	while (r == 0 && p->n_threads < n_threads)
		r = start_worker(p);
	if (r < 0) {
		seal_pool_free(p);
		return err_errno(e, r, "cannot start %u sealing threads", n_threads);
	}
	*out = p;
	return 0;
}

void seal_pool_free(struct seal_pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n_threads; i++)
		(void)pthread_join(p->threads[i], NULL);
	for (size_t i = 0; p->slots && i < p->n_slots; i++) {
		if (p->slots[i].plain)
			explicit_bzero(p->slots[i].plain, SEAL_POOL_CHUNK);
		free(p->slots[i].plain);
		free(p->slots[i].stored);
	}
	if (p->slots)
		explicit_bzero(p->slots, p->n_slots * sizeof(*p->slots));
	free(p->slots);
	free(p->threads);
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_cond_destroy(&p->done);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

const struct seal_options *seal_pool_options(const struct seal_pool *p)
{
	return &p->options;
}

void seal_pool_begin(struct seal_pool *p, const struct secret *prk, seal_result *result, void *arg)
{
	p->prk = prk;
	p->result = result;
	p->arg = arg;
	p->error = 0;
}

uint8_t *seal_pool_buffer(struct seal_pool *p)
{
	return p->slots[p->tail % p->n_slots].plain;
}

/* Deliver what is done at the head; wait for it while more than `under_way` chunks are in the ring. */
static int deliver(struct seal_pool *p, uint64_t under_way, struct err *e)
{
	(void)pthread_mutex_lock(&p->lock);
	while (p->head != p->tail) {
		struct slot *slot = &p->slots[p->head % p->n_slots];

		while (!slot->done && p->tail - p->head > under_way)
			(void)pthread_cond_wait(&p->done, &p->lock);
		if (!slot->done)
			break;
		(void)pthread_mutex_unlock(&p->lock);
		if (p->error == 0 && slot->error < 0)
			p->error = err_errno(e, slot->error, "cannot seal a chunk of %zu bytes", slot->n);
		if (p->error == 0)
			p->error = p->result(p->arg, &slot->chunk, slot->stored, e);
		secret_wipe(&slot->chunk.key);
		(void)pthread_mutex_lock(&p->lock);
		slot->done = false;
		p->head++;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return p->error;
}

int seal_pool_submit(struct seal_pool *p, size_t n, struct err *e)
{
	if (p->error < 0)
		return p->error;
	if (n == 0 || n > SEAL_POOL_CHUNK)
		return err_set(e, -EINVAL, "a chunk of %zu bytes", n);
	(void)pthread_mutex_lock(&p->lock);
	p->slots[p->tail % p->n_slots].n = n;
	p->tail++;
	(void)pthread_cond_signal(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	/* one slot stays free: it is the next buffer */
	return deliver(p, p->n_slots - 1, e);
}

int seal_pool_drain(struct seal_pool *p, struct err *e)
{
	return deliver(p, 0, e);
}
