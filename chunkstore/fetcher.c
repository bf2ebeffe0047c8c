/* SPDX-License-Identifier: Apache-2.0
 * Each chunk that is wanted and not there is one flight, however many wait for it. Flights queue up, those
 * that somebody waits for before those that are ahead of need; a thread takes the first and with it all its
 * neighbours in the blob (a run), and lands each as its bytes come in. Flights of different origins never
 * share, so that a slow or lying origin hurts only those who named it. */
#include "chunkstore/fetcher.h"
#include "chunkstore/clock.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define BUCKETS 1024u
#define MAX_GAP (64u << 10) /* bytes nobody wants are cheaper than another round trip */
/* Bytes of one ranged GET. What guests ask for at one time they need in that order, a start-up list above
 * all: several GETs side by side would share the link and bring the first chunk as late as the last. */
#define MAX_RUN (16ull << 20)
#define MAX_RUN_FLIGHTS 256u
#define RUN_DEADLINE_MS 120000
#define MAX_THREADS 64u

enum { DEMAND, AHEAD, N_QUEUES };

struct flight {
	struct origin *origin; /* counted */
	struct digest blob;
	struct chunk_entry entry;
	struct fetch *waiters;
	int64_t born_ms;
	bool running; /* in nobody's queue any more */
	int queue;
	struct flight *next, *prev; /* in its queue */
	struct flight *chain;	    /* of its bucket */
};

struct queue {
	struct flight *first, *last;
};

/* What one thread fetches at a time. */
struct run {
	struct fetcher *fetcher;
	pthread_t thread;
	struct origin *origin; /* counted; NULL: idle. Set under the fetcher's lock */
	struct digest blob;
	struct flight *flights[MAX_RUN_FLIGHTS]; /* by offset */
	size_t n, landed;
	uint64_t start, end, at; /* in the blob: what is asked for, and the next byte to come */
	int64_t deadline_ms;
	uint8_t *chunk; /* the one that is coming in: MAX_STORED_SIZE bytes */
};

struct fetcher {
	struct registry_client *registry;
	struct chunk_cache *cache;
	struct fetcher_options options;
	pthread_mutex_t
		lock; /* guards what follows, and calls of done(): taken before the locks of those who wait */
	pthread_cond_t work;
	bool stopping;
	struct flight *buckets[BUCKETS];
	struct queue queues[N_QUEUES];
	struct run *runs; /* options.threads of them */
	unsigned n_started;
	struct fetcher_stats stats;
};

static void queue_add(struct fetcher *f, struct flight *x, int which)
{
	struct queue *q = &f->queues[which];

	x->queue = which;
	x->next = NULL;
	x->prev = q->last;
	*(q->last ? &q->last->next : &q->first) = x;
	q->last = x;
}

static void queue_remove(struct fetcher *f, struct flight *x)
{
	struct queue *q = &f->queues[x->queue];

	*(x->prev ? &x->prev->next : &q->first) = x->next;
	*(x->next ? &x->next->prev : &q->last) = x->prev;
}

static bool same_place(const struct flight *x, const struct origin *origin, const struct digest *blob)
{
	return digest_equal(&x->blob, blob) && digest_equal(&x->origin->name, &origin->name);
}

static struct flight **flight_slot(struct fetcher *f, const struct origin *origin, const struct fetch *wanted)
{
	struct flight **at = &f->buckets[wanted->entry.id.bytes[0] | (wanted->entry.id.bytes[1] & 3) << 8];

	while (*at && !(digest_equal(&(*at)->entry.id, &wanted->entry.id) &&
			(*at)->entry.offset == wanted->entry.offset &&
			(*at)->entry.stored_size == wanted->entry.stored_size &&
			same_place(*at, origin, &wanted->blob)))
		at = &(*at)->chain;
	return at;
}

/* Take the flight out of the table and tell everybody. */
static void land(struct fetcher *f, struct flight *x, int error, const char *words)
{
	struct flight **at = &f->buckets[x->entry.id.bytes[0] | (x->entry.id.bytes[1] & 3) << 8];

	while (*at != x)
		at = &(*at)->chain;
	*at = x->chain;
	f->stats.waiting--;
	if (error == 0)
		f->stats.chunks++;
	else if (error != -ECANCELED)
		f->stats.failures++;
	while (x->waiters) {
		struct fetch *w = x->waiters;

		x->waiters = w->next;
		w->flight = NULL;
		w->done(w, error, words);
	}
	origin_unref(x->origin);
	free(x);
}

static int add_flight(struct fetcher *f, struct flight **slot, struct origin *origin, struct fetch *wanted)
{
	struct flight *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->origin = origin_ref(origin);
	x->blob = wanted->blob;
	x->entry = wanted->entry;
	x->born_ms = now_ms();
	*slot = x;
	queue_add(f, x, wanted->ahead ? AHEAD : DEMAND);
	f->stats.waiting++;
	return 0;
}

static void board(struct fetcher *f, struct origin *origin, struct fetch *wanted)
{
	struct flight **slot = flight_slot(f, origin, wanted);
	int r = 0;

	wanted->flight = NULL;
	if (f->stopping) {
		r = -ECANCELED;
	} else if (*slot) {
		f->stats.shared++;
		if (!wanted->ahead && !(*slot)->running && (*slot)->queue == AHEAD) {
			queue_remove(f, *slot);
			queue_add(f, *slot, DEMAND);
		}
	} else if (chunk_cache_has(f->cache, &wanted->entry.id)) {
		wanted->done(wanted, 0, ""); /* it landed a moment ago */
		return;
	} else {
		r = add_flight(f, slot, origin, wanted);
	}
	if (r < 0) {
		wanted->done(wanted, r, r == -ENOMEM ? "out of memory" : "stopped");
		return;
	}
	wanted->flight = *slot;
	wanted->next = (*slot)->waiters;
	(*slot)->waiters = wanted;
}

void fetcher_fetch(struct fetcher *f, struct origin *origin, struct fetch *const *fetches, size_t n)
{
	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < n; i++)
		board(f, origin, fetches[i]);
	(void)pthread_cond_signal(&f->work);
	(void)pthread_mutex_unlock(&f->lock);
}

void fetcher_cancel(struct fetcher *f, struct fetch *fetch)
{
	struct flight *x;

	(void)pthread_mutex_lock(&f->lock);
	x = fetch->flight;
	if (x) {
		struct fetch **at = &x->waiters;

		while (*at != fetch)
			at = &(*at)->next;
		*at = fetch->next;
		fetch->flight = NULL;
		if (!x->waiters && !x->running) {
			queue_remove(f, x);
			land(f, x, -ECANCELED, "");
		}
	}
	(void)pthread_mutex_unlock(&f->lock);
}

static bool registry_is_busy(const struct fetcher *f, const char *registry)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->options.threads; i++)
		if (f->runs[i].origin && strcmp(f->runs[i].origin->where.registry, registry) == 0)
			n++;
	return n >= f->options.threads_per_registry;
}

/* The first flight that may begin; flights that waited too long fail on the way. */
static struct flight *next_flight(struct fetcher *f)
{
	int64_t too_old = now_ms() - f->options.deadline_ms;

	for (int i = 0; i < N_QUEUES; i++) {
		const char *busy = NULL; /* remembered, as neighbours in the queue mostly name the same */

		for (struct flight *x = f->queues[i].first, *next; x; x = next) {
			const char *registry = x->origin->where.registry;

			next = x->next;
			if (x->born_ms < too_old) {
				queue_remove(f, x);
				land(f, x, -EAGAIN, "the registry is too slow for what is asked of it");
				busy = NULL; /* may have pointed into what is gone */
			} else if (!busy || strcmp(busy, registry) != 0) {
				if (!registry_is_busy(f, registry))
					return x;
				busy = registry;
			}
		}
	}
	return NULL;
}

static void take_into_run(struct fetcher *f, struct run *run, struct flight *x)
{
	queue_remove(f, x);
	x->running = true;
	run->flights[run->n++] = x;
}

/* Whether `x` can lengthen the run at one end. */
static bool fits(const struct run *run, const struct flight *x)
{
	uint64_t start = x->entry.offset, end = start + x->entry.stored_size;

	if (!same_place(x, run->origin, &run->blob))
		return false;
	if (start >= run->end)
		return start - run->end <= MAX_GAP && end - run->start <= MAX_RUN;
	/* what nobody waits for must not come before what somebody waits for */
	if (x->queue == AHEAD && run->flights[0]->queue == DEMAND)
		return false;
	return end <= run->start && run->start - end <= MAX_GAP && run->end - start <= MAX_RUN;
}

static int by_offset(const void *a, const void *b)
{
	uint64_t x = (*(struct flight *const *)a)->entry.offset,
		 y = (*(struct flight *const *)b)->entry.offset;

	return (x > y) - (x < y);
}

static void gather(struct fetcher *f, struct run *run, struct flight *first)
{
	size_t before;

	run->origin = origin_ref(first->origin);
	run->blob = first->blob;
	run->n = run->landed = 0;
	run->start = first->entry.offset;
	run->end = run->start + first->entry.stored_size;
	take_into_run(f, run, first);
	do {
		before = run->n;
		for (int i = 0; i < N_QUEUES; i++) {
			for (struct flight *x = f->queues[i].first, *next; x && run->n < MAX_RUN_FLIGHTS;
			     x = next) {
				next = x->next;
				if (!fits(run, x))
					continue;
				if (x->entry.offset < run->start)
					run->start = x->entry.offset;
				else
					run->end = x->entry.offset + x->entry.stored_size;
				take_into_run(f, run, x);
			}
		}
	} while (run->n > before && run->n < MAX_RUN_FLIGHTS);
	qsort(run->flights, run->n, sizeof(struct flight *), by_offset);
	run->at = run->start;
	run->deadline_ms = now_ms() + RUN_DEADLINE_MS;
	f->stats.requests++;
}

static const char *words_for(int error)
{
	return error == -EBADMSG ? "the registry's bytes are not the chunk that the table names"
				 : "the chunk cannot be kept";
}

/* The chunk that was coming in is complete. */
static void land_next(struct run *run)
{
	struct fetcher *f = run->fetcher;
	struct flight *x = run->flights[run->landed++];
	int r = chunk_cache_put(f->cache, &x->entry.id, run->chunk, x->entry.stored_size);

	(void)pthread_mutex_lock(&f->lock);
	land(f, x, r, r < 0 ? words_for(r) : "");
	(void)pthread_mutex_unlock(&f->lock);
}

static int take_bytes(void *arg, const void *p, size_t n)
{
	struct run *run = arg;
	const uint8_t *from = p;

	if (now_ms() > run->deadline_ms)
		return -ETIMEDOUT;
	while (n > 0 && run->landed < run->n) {
		const struct chunk_entry *c = &run->flights[run->landed]->entry;
		uint64_t end = c->offset + c->stored_size, upto = run->at < c->offset ? c->offset : end;
		size_t part = upto - run->at < n ? (size_t)(upto - run->at) : n;

		if (run->at >= c->offset)
			memcpy(run->chunk + (run->at - c->offset), from, part);
		run->at += part;
		from += part;
		n -= part;
		if (run->at == end)
			land_next(run);
	}
	return 0;
}

static void fly(struct run *run)
{
	struct fetcher *f = run->fetcher;
	struct err e = {""};
	int r;

	r = registry_get_range(f->registry, &run->origin->where, &run->blob, run->start,
			       run->end - run->start, take_bytes, run, &e);
	(void)pthread_mutex_lock(&f->lock);
	f->stats.bytes += run->at - run->start;
	while (run->landed < run->n)
		land(f, run->flights[run->landed++], r < 0 ? r : -EIO, e.text);
	origin_unref(take_ptr(run->origin));
	(void)pthread_mutex_unlock(&f->lock);
}

static void *fetch_thread(void *arg)
{
	struct run *run = arg;
	struct fetcher *f = run->fetcher;

	(void)pthread_mutex_lock(&f->lock);
	while (!f->stopping) {
		struct flight *first = next_flight(f);

		if (!first) {
			(void)pthread_cond_wait(&f->work, &f->lock);
			continue;
		}
		gather(f, run, first);
		if (f->queues[DEMAND].first || f->queues[AHEAD].first)
			(void)pthread_cond_signal(
				&f->work); /* one wakes the next: most requests are one run */
		(void)pthread_mutex_unlock(&f->lock);
		fly(run);
		(void)pthread_mutex_lock(&f->lock);
	}
	(void)pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int start_threads(struct fetcher *f)
{
	for (; f->n_started < f->options.threads; f->n_started++) {
		struct run *run = &f->runs[f->n_started];

		run->fetcher = f;
		run->chunk = malloc(MAX_STORED_SIZE);
		if (!run->chunk)
			return -ENOMEM;
		if (pthread_create(&run->thread, NULL, fetch_thread, run) != 0) {
			free(take_ptr(run->chunk));
			return -EAGAIN;
		}
	}
	return 0;
}

int fetcher_open(struct fetcher **out, const struct fetcher_options *options,
		 struct registry_client *registry, struct chunk_cache *cache, struct err *e)
{
	struct fetcher *f = calloc(1, sizeof(*f));
	int r = -ENOMEM;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->registry = registry;
	f->cache = cache;
	f->options = *options;
	if (f->options.threads == 0)
		f->options.threads = 16;
	if (f->options.threads > MAX_THREADS)
		f->options.threads = MAX_THREADS;
	if (f->options.threads_per_registry == 0)
		f->options.threads_per_registry = 8;
	if (f->options.deadline_ms == 0)
		f->options.deadline_ms = 60000;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->work, NULL);
	f->runs = calloc(f->options.threads, sizeof(*f->runs));
	if (f->runs)
		r = start_threads(f);
	if (r < 0) {
		fetcher_close(f);
		return err_errno(e, r, "fetcher");
	}
	*out = f;
	return 0;
}

void fetcher_close(struct fetcher *f)
{
	if (!f)
		return;
	(void)pthread_mutex_lock(&f->lock);
	f->stopping = true;
	(void)pthread_cond_broadcast(&f->work);
	(void)pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->n_started; i++) {
		(void)pthread_join(f->runs[i].thread, NULL);
		free(f->runs[i].chunk);
	}
	for (int i = 0; i < N_QUEUES; i++) {
		while (f->queues[i].first) {
			struct flight *x = f->queues[i].first;

			queue_remove(f, x);
			land(f, x, -ECANCELED, "stopped");
		}
	}
	free(f->runs);
	(void)pthread_mutex_destroy(&f->lock);
	(void)pthread_cond_destroy(&f->work);
	free(f);
}

void fetcher_stats(struct fetcher *f, struct fetcher_stats *out)
{
	(void)pthread_mutex_lock(&f->lock);
	*out = f->stats;
	(void)pthread_mutex_unlock(&f->lock);
}
