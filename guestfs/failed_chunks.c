/* SPDX-License-Identifier: Apache-2.0
 * One place for each number modulo the places: the newest failure wins. */
#include "guestfs/failed_chunks.h"

void failed_chunks_init(struct failed_chunks *f)
{
	pthread_mutex_init(&f->lock, NULL);
}

void failed_chunks_deinit(struct failed_chunks *f)
{
	pthread_mutex_destroy(&f->lock);
}

/* With the lock held: nothing is there any more. */
static void clear(struct failed_chunks *f, struct failed_chunk *s)
{
	s->error = 0;
	atomic_fetch_sub_explicit(&f->n, 1, memory_order_relaxed);
}

int failed_chunks_look(struct failed_chunks *f, uint32_t number, uint64_t now_ms)
{
	struct failed_chunk *s = &f->slots[number % FAILED_CHUNKS];
	int r = CHUNK_UNKNOWN;

	if (atomic_load_explicit(&f->n, memory_order_relaxed) == 0)
		return CHUNK_UNKNOWN;
	pthread_mutex_lock(&f->lock);
	if (s->error && s->number == number) {
		if (now_ms < s->until_ms)
			r = s->error;
		else if (now_ms - s->at_ms < FAILED_CHUNK_KNOWN_MS)
			r = CHUNK_ASK_ONCE;
		else
			clear(f, s);
	}
	pthread_mutex_unlock(&f->lock);
	return r;
}

void failed_chunks_add(struct failed_chunks *f, uint32_t number, int error, uint64_t began_ms,
		       uint64_t now_ms)
{
	struct failed_chunk *s = &f->slots[number % FAILED_CHUNKS];
	uint64_t took_ms = now_ms - began_ms;

	if (took_ms > FAILED_CHUNK_AT_ONCE_MS)
		took_ms = FAILED_CHUNK_AT_ONCE_MS;

	pthread_mutex_lock(&f->lock);
	if (s->error == 0)
		atomic_fetch_add_explicit(&f->n, 1, memory_order_relaxed);
	*s = (struct failed_chunk){number, error, now_ms, now_ms + took_ms};
	pthread_mutex_unlock(&f->lock);
}

bool failed_chunks_drop(struct failed_chunks *f, uint32_t number)
{
	struct failed_chunk *s = &f->slots[number % FAILED_CHUNKS];
	bool found;

	if (atomic_load_explicit(&f->n, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&f->lock);
	found = s->error && s->number == number;
	if (found)
		clear(f, s);
	pthread_mutex_unlock(&f->lock);
	return found;
}
