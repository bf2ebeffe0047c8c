/* SPDX-License-Identifier: Apache-2.0
 * A hash table of chunks by number; those that are ready and unclaimed are also on a list in order of last
 * use, and go in that order when the arena has no room for another. One lock, held for lookups only. */
#include "guestfs/plain_cache.h"
#include "crypto/secret.h"
#include "guestfs/page_arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS 1024u

enum state { LOADING, READY, FAILED };

struct item {
	struct chunk chunk; /* first: callers see only this */
	struct secret key;
	enum state state;
	int result;   /* negative for a FAILED one */
	bool charged; /* its bytes are reserved until it is released */
	unsigned int claims;
	LIST_ENTRY(item) bucket;
	TAILQ_ENTRY(item) idle; /* while READY and claims is 0 */
	pthread_cond_t done;
};

LIST_HEAD(bucket, item);
TAILQ_HEAD(idle_list, item);

/* Who waits for room, in the caller's stack frame. */
struct waiter {
	TAILQ_ENTRY(waiter) next;
};

TAILQ_HEAD(waiter_list, waiter);

struct plain_cache {
	size_t max_loading;
	pthread_mutex_t lock; /* guards all below, and every item's state */
	struct page_arena arena;
	struct bucket buckets[BUCKETS];
	struct idle_list idle; /* oldest first */
	size_t reserved;
	struct waiter_list waiters; /* for less of it; the first is served first */
	pthread_cond_t room;	    /* that went down, or a waiter left */
};

int plain_cache_new(struct plain_cache **out, size_t max_bytes, size_t max_loading)
{
	struct plain_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	if (page_arena_init(&c->arena, max_bytes) < 0) {
		free(c);
		return -ENOMEM;
	}
	c->max_loading = max_loading;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->room, NULL);
	TAILQ_INIT(&c->idle);
	TAILQ_INIT(&c->waiters);
	*out = c;
	return 0;
}

/* Wipe and free an item that nobody can find any more; its plaintext was taken out of it before. */
static void item_free(struct item *x)
{
	secret_wipe(&x->key);
	pthread_cond_destroy(&x->done);
	free(x);
}

/* With the lock held, which is given up for the wiping: that takes its time. */
static void item_drop(struct plain_cache *c, struct item *x)
{
	pthread_mutex_unlock(&c->lock);
	explicit_bzero(x->chunk.plain, x->chunk.size);
	pthread_mutex_lock(&c->lock);
	if (page_arena_owns(&c->arena, x->chunk.plain))
		page_arena_give(&c->arena, x->chunk.plain, x->chunk.size);
	else
		free(x->chunk.plain);
	item_free(x);
}

/* With the lock held: the idle chunk that was used longest ago goes. False when there is none. */
static bool evict(struct plain_cache *c)
{
	struct item *x = TAILQ_FIRST(&c->idle);

	if (!x)
		return false;
	TAILQ_REMOVE(&c->idle, x, idle);
	LIST_REMOVE(x, bucket);
	item_drop(c, x);
	return true;
}

void plain_cache_free(struct plain_cache *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	while (evict(c))
		;
	pthread_mutex_unlock(&c->lock);
	page_arena_deinit(&c->arena);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct item *find(struct plain_cache *c, uint32_t number)
{
	struct item *n;

	LIST_FOREACH(n, &c->buckets[number % BUCKETS], bucket)
	if (n->chunk.number == number)
		break;
	return n;
}

/* With the lock held. */
static bool is_room(const struct plain_cache *c, size_t bytes)
{
	return c->reserved == 0 || c->reserved + bytes <= c->max_loading;
}

/* With the lock held, which is given up meanwhile. */
static int wait_for_room(struct plain_cache *c, size_t bytes, const struct deadline *deadline)
{
	struct waiter me;
	int r = 0;

	TAILQ_INSERT_TAIL(&c->waiters, &me, next);
	while (r == 0 && (TAILQ_FIRST(&c->waiters) != &me || !is_room(c, bytes)))
		r = -pthread_cond_clockwait(&c->room, &c->lock, CLOCK_MONOTONIC, &deadline->at);
	TAILQ_REMOVE(&c->waiters, &me, next);
	pthread_cond_broadcast(&c->room);
	return r;
}

int plain_cache_reserve(struct plain_cache *c, const struct extent *x, size_t n,
			const struct deadline *deadline, size_t *reserved)
{
	size_t bytes = 0;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	for (size_t k = 0; k < n; k++)
		if (!find(c, x[k].chunk))
			bytes += x[k].plain_size;
	if (bytes > 0 && (!TAILQ_EMPTY(&c->waiters) || !is_room(c, bytes)))
		r = deadline ? wait_for_room(c, bytes, deadline) : -ETIMEDOUT;
	*reserved = r == 0 ? bytes : 0;
	c->reserved += *reserved;
	pthread_mutex_unlock(&c->lock);
	return r;
}

/* With the lock held. */
static void give_back(struct plain_cache *c, size_t bytes)
{
	c->reserved -= bytes;
	pthread_cond_broadcast(&c->room);
}

void plain_cache_unreserve(struct plain_cache *c, size_t reserved)
{
	pthread_mutex_lock(&c->lock);
	give_back(c, reserved);
	pthread_mutex_unlock(&c->lock);
}

void plain_cache_charge(struct plain_cache *c, struct chunk *chunk, size_t *reserved)
{
	struct item *n = (struct item *)chunk;

	if (*reserved < chunk->size)
		return;
	*reserved -= chunk->size;
	pthread_mutex_lock(&c->lock);
	n->charged = true;
	pthread_mutex_unlock(&c->lock);
}

static struct item *item_new(const struct extent *x)
{
	struct item *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	pthread_cond_init(&n->done, NULL);
	n->chunk.size = x->plain_size;
	n->chunk.number = x->chunk;
	n->state = LOADING;
	n->claims = 1;
	memcpy(n->key.bytes, x->key, sizeof(n->key.bytes));
	return n;
}

static int claim_known(struct plain_cache *c, struct item *n, const struct extent *x)
{
	cleanup_secret struct secret key;

	memcpy(key.bytes, x->key, sizeof(key.bytes));
	if (n->chunk.size != x->plain_size || !secret_equal(&n->key, &key))
		return -EUCLEAN;
	if (n->claims++ == 0)
		TAILQ_REMOVE(&c->idle, n, idle);
	return n->state == READY ? CHUNK_READY : CHUNK_WAIT;
}

/* With the lock held, which may be given up: room for a chunk. When everything in the arena is claimed,
 * outside of it, and then not for longer than it is claimed. */
static uint8_t *room_for(struct plain_cache *c, size_t size)
{
	uint8_t *p = page_arena_take(&c->arena, size);

	while (!p && size <= c->arena.n_pages * ARENA_PAGE && evict(c))
		p = page_arena_take(&c->arena, size);
	return p ? p : malloc(size);
}

/* With the lock held. It is visible before it has room, as the lock is given up for that: others wait for it.
 */
static int claim_new(struct plain_cache *c, const struct extent *x, struct item **out)
{
	struct item *n = item_new(x);

	if (!n)
		return -ENOMEM;
	LIST_INSERT_HEAD(&c->buckets[x->chunk % BUCKETS], n, bucket);
	n->chunk.plain = room_for(c, x->plain_size);
	if (n->chunk.plain) {
		*out = n;
		return CHUNK_LOAD;
	}
	LIST_REMOVE(n, bucket);
	n->state = FAILED;
	n->result = -ENOMEM;
	pthread_cond_broadcast(&n->done);
	if (--n->claims == 0)
		item_free(n);
	return -ENOMEM;
}

int plain_cache_claim(struct plain_cache *c, const struct extent *x, struct chunk **out)
{
	struct item *n;
	int r;

	pthread_mutex_lock(&c->lock);
	n = find(c, x->chunk);
	r = n ? claim_known(c, n, x) : claim_new(c, x, &n);
	pthread_mutex_unlock(&c->lock);
	if (r >= 0)
		*out = &n->chunk;
	return r;
}

void plain_cache_done(struct plain_cache *c, struct chunk *chunk, int result)
{
	struct item *n = (struct item *)chunk;

	pthread_mutex_lock(&c->lock);
	n->state = result < 0 ? FAILED : READY;
	n->result = result;
	/* what will not be kept is for those who wait already: a later read asks the host */
	if (result < 0 || !page_arena_owns(&c->arena, n->chunk.plain))
		LIST_REMOVE(n, bucket);
	pthread_cond_broadcast(&n->done);
	pthread_mutex_unlock(&c->lock);
}

int plain_cache_wait(struct plain_cache *c, struct chunk *chunk)
{
	struct item *n = (struct item *)chunk;
	int r;

	pthread_mutex_lock(&c->lock);
	while (n->state == LOADING)
		pthread_cond_wait(&n->done, &c->lock);
	r = n->result;
	pthread_mutex_unlock(&c->lock);
	return r;
}

void plain_cache_release(struct plain_cache *c, struct chunk *chunk)
{
	struct item *n = (struct item *)chunk;

	pthread_mutex_lock(&c->lock);
	if (--n->claims == 0) {
		if (n->charged)
			give_back(c, n->chunk.size);
		n->charged = false;
		if (n->state == READY && page_arena_owns(&c->arena, n->chunk.plain)) {
			TAILQ_INSERT_TAIL(&c->idle, n, idle);
		} else if (n->chunk.plain) {
			item_drop(c, n);
		} else {
			item_free(n);
		}
	}
	pthread_mutex_unlock(&c->lock);
}
