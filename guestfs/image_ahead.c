/* SPDX-License-Identifier: Apache-2.0
 * Reading ahead of need: a few threads that load what will be read soon, because somebody said so or because
 * reads look sequential. What they load lies in the cache, so they stop where it would be full. Failures are
 * silent here: the reader who comes meets them again. */
#include "guestfs/image_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 3
#define JOBS 64u
#define JOB_BLOCKS ((1u << 20) / BLOCK_SIZE)
#define STREAMS 8u
#define STREAM_SLACK (256u << 10) /* the kernel's own read-ahead sends requests out of order */
#define WINDOW_MIN (512u << 10)
#define WINDOW_MAX (4u << 20)

struct job {
	uint32_t first, end; /* blocks of the image */
};

/* One reader that goes forward. */
struct stream {
	uint64_t next;	/* where its next read is expected */
	uint64_t asked; /* up to where was read ahead */
	uint64_t run;	/* bytes read in it */
	uint64_t used;
};

struct ahead {
	struct image *i;
	pthread_t threads[THREADS];
	int n_threads;
	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	pthread_cond_t more;
	struct job jobs[JOBS];
	unsigned int first_job, n_jobs;
	bool stop;
	struct stream streams[STREAMS];
	uint64_t clock;
};

static bool stopped(struct ahead *a)
{
	bool stop;

	pthread_mutex_lock(&a->lock);
	stop = a->stop;
	pthread_mutex_unlock(&a->lock);
	return stop;
}

static void load_range(struct ahead *a, uint32_t block, uint32_t end)
{
	struct extent x[LOAD_MAX_CHUNKS];
	size_t n;

	while (block < end && !stopped(a) && image_extents(a->i, block, end, NULL, x, &n, NULL) == 0) {
		image_warm(a->i, x, n);
		block = x[n - 1].first_block + x[n - 1].plain_size / BLOCK_SIZE;
	}
	explicit_bzero(x, sizeof(x));
}

static void *ahead_thread(void *arg)
{
	struct ahead *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		struct job job;

		if (a->n_jobs == 0) {
			pthread_cond_wait(&a->more, &a->lock);
			continue;
		}
		job = a->jobs[a->first_job];
		a->first_job = (a->first_job + 1) % JOBS;
		a->n_jobs--;
		pthread_mutex_unlock(&a->lock);
		load_range(a, job.first, job.end);
		pthread_mutex_lock(&a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* With the lock held. When there is too much to do already, it is not done ahead. */
static void add_job(struct ahead *a, uint32_t first, uint32_t end)
{
	if (a->n_jobs == JOBS)
		return;
	a->jobs[(a->first_job + a->n_jobs++) % JOBS] = (struct job){first, end};
	pthread_cond_signal(&a->more);
}

/* With the lock held: [from, to) in jobs that several threads can share. */
static void add_range(struct ahead *a, uint64_t from, uint64_t to)
{
	uint64_t size = a->i->descriptor.image_size, most = a->i->cache_bytes / 2;
	uint32_t block, end;

	if (to > size)
		to = size;
	if (from >= to)
		return;
	if (to - from > most)
		to = from + most;
	block = (uint32_t)(from / BLOCK_SIZE);
	end = (uint32_t)((to + BLOCK_SIZE - 1) / BLOCK_SIZE);
	while (block < end) {
		uint32_t part = end - block < JOB_BLOCKS ? end - block : JOB_BLOCKS;

		add_job(a, block, block + part);
		block += part;
	}
}

static struct stream *find_stream(struct ahead *a, uint64_t offset)
{
	struct stream *oldest = &a->streams[0];

	for (size_t k = 0; k < STREAMS; k++) {
		struct stream *s = &a->streams[k];

		if (s->used && offset <= s->next + STREAM_SLACK && offset + STREAM_SLACK >= s->next)
			return s;
		if (s->used < oldest->used)
			oldest = s;
	}
	*oldest = (struct stream){.next = offset, .asked = offset};
	return oldest;
}

/* As far ahead as half of what was read in one go: a guess that is wrong costs no more than that, and a
 * program that reads many small files is not a stream. */
static uint64_t window_of(const struct ahead *a, const struct stream *s)
{
	uint64_t window = s->run / 2, most = a->i->cache_bytes / 4;

	if (window > WINDOW_MAX)
		window = WINDOW_MAX;
	if (window > most)
		window = most;
	return window < WINDOW_MIN ? 0 : window;
}

void ahead_observe(struct ahead *a, uint64_t offset, uint64_t n)
{
	struct stream *s;
	uint64_t window;

	pthread_mutex_lock(&a->lock);
	s = find_stream(a, offset);
	s->used = ++a->clock;
	s->run += n;
	if (offset + n > s->next)
		s->next = offset + n;
	if (s->asked < s->next)
		s->asked = s->next;
	window = window_of(a, s);
	if (s->asked < s->next + window / 2) {
		add_range(a, s->asked, s->next + window);
		s->asked = s->next + window;
	}
	pthread_mutex_unlock(&a->lock);
}

void image_will_need(struct image *i, uint64_t offset, uint64_t n)
{
	uint64_t end;

	if (__builtin_add_overflow(offset, n, &end))
		end = UINT64_MAX;
	pthread_mutex_lock(&i->ahead->lock);
	add_range(i->ahead, offset, end);
	pthread_mutex_unlock(&i->ahead->lock);
}

int ahead_start(struct ahead **out, struct image *i, struct err *e)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->i = i;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->more, NULL);
	while (a->n_threads < THREADS) {
		int r = pthread_create(&a->threads[a->n_threads], NULL, ahead_thread, a);

		if (r != 0) {
			ahead_stop(a);
			return err_errno(e, -r, "starting a thread");
		}
		a->n_threads++;
	}
	*out = a;
	return 0;
}

void ahead_stop(struct ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->more);
	pthread_mutex_unlock(&a->lock);
	for (int k = 0; k < a->n_threads; k++)
		pthread_join(a->threads[k], NULL);
	pthread_cond_destroy(&a->more);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
