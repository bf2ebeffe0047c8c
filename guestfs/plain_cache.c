/* SPDX-License-Identifier: Apache-2.0
 * A hash table of chunks by number; those that are ready and unclaimed are also on a list in order of last
 * use. One lock, held for lookups only. */
#include "guestfs/plain_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS 1024u

enum state { LOADING, READY, FAILED };

struct item {
	struct chunk chunk; /* first: callers see only this */
	uint8_t key[CHUNK_KEY_SIZE];
	enum state state;
	int result; /* negative for a FAILED one, which is not in the table any more */
	unsigned int claims;
	LIST_ENTRY(item) bucket;
	TAILQ_ENTRY(item) idle; /* while READY and claims is 0 */
	pthread_cond_t done;
};

LIST_HEAD(bucket, item);
TAILQ_HEAD(idle_list, item);

struct plain_cache {
	size_t max_bytes;
	pthread_mutex_t lock; /* guards all below, and every item's state */
	struct bucket buckets[BUCKETS];
	struct idle_list idle; /* oldest first */
	size_t idle_bytes;
};

int plain_cache_new(struct plain_cache **out, size_t max_bytes)
{
	struct plain_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->max_bytes = max_bytes;
	pthread_mutex_init(&c->lock, NULL);
	TAILQ_INIT(&c->idle);
	*out = c;
	return 0;
}

static void item_free(struct item *x)
{
	if (x->chunk.plain)
		explicit_bzero(x->chunk.plain, x->chunk.size);
	free(x->chunk.plain);
	explicit_bzero(x->key, sizeof(x->key));
	pthread_cond_destroy(&x->done);
	free(x);
}

/* Move idle chunks to `gone`, oldest first, until `max_bytes` are left. */
static void evict(struct plain_cache *c, size_t max_bytes, struct idle_list *gone)
{
	while (c->idle_bytes > max_bytes) {
		struct item *x = TAILQ_FIRST(&c->idle);

		TAILQ_REMOVE(&c->idle, x, idle);
		LIST_REMOVE(x, bucket);
		c->idle_bytes -= x->chunk.size;
		TAILQ_INSERT_TAIL(gone, x, idle);
	}
}

/* Outside the lock: wiping takes its time. */
static void free_all(struct idle_list *gone)
{
	struct item *x;

	while ((x = TAILQ_FIRST(gone))) {
		TAILQ_REMOVE(gone, x, idle);
		item_free(x);
	}
}

void plain_cache_free(struct plain_cache *c)
{
	struct idle_list gone = TAILQ_HEAD_INITIALIZER(gone);

	if (!c)
		return;
	evict(c, 0, &gone);
	free_all(&gone);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct item *item_new(const struct extent *x)
{
	struct item *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	pthread_cond_init(&n->done, NULL);
	n->chunk.size = x->plain_size;
	n->chunk.number = x->chunk;
	n->chunk.plain = malloc(x->plain_size);
	n->state = LOADING;
	n->claims = 1;
	memcpy(n->key, x->key, sizeof(n->key));
	if (!n->chunk.plain) {
		item_free(n);
		return NULL;
	}
	return n;
}

static int claim_known(struct plain_cache *c, struct item *n, const struct extent *x)
{
	if (n->chunk.size != x->plain_size || memcmp(n->key, x->key, sizeof(n->key)) != 0)
		return -EUCLEAN;
	if (n->claims++ == 0) {
		TAILQ_REMOVE(&c->idle, n, idle);
		c->idle_bytes -= n->chunk.size;
	}
	return n->state == READY ? CHUNK_READY : CHUNK_WAIT;
}

int plain_cache_claim(struct plain_cache *c, const struct extent *x, struct chunk **out)
{
	struct bucket *b = &c->buckets[x->chunk % BUCKETS];
	struct item *n;
	int r;

	pthread_mutex_lock(&c->lock);
	LIST_FOREACH(n, b, bucket)
	if (n->chunk.number == x->chunk)
		break;
	if (n) {
		r = claim_known(c, n, x);
	} else {
		n = item_new(x);
		r = n ? CHUNK_LOAD : -ENOMEM;
		if (n)
			LIST_INSERT_HEAD(b, n, bucket);
	}
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
	if (result < 0)
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
	struct idle_list gone = TAILQ_HEAD_INITIALIZER(gone);
	struct item *n = (struct item *)chunk;

	pthread_mutex_lock(&c->lock);
	if (--n->claims == 0 && n->state == READY) {
		TAILQ_INSERT_TAIL(&c->idle, n, idle);
		c->idle_bytes += n->chunk.size;
		evict(c, c->max_bytes, &gone);
	} else if (n->claims == 0) {
		TAILQ_INSERT_TAIL(&gone, n, idle);
	}
	pthread_mutex_unlock(&c->lock);
	free_all(&gone);
}
