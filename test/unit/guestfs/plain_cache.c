/* SPDX-License-Identifier: Apache-2.0
 * The cache of plaintext chunks: what it keeps, what it shares, what it forgets. */
#include "guestfs/plain_cache.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static struct plain_cache *cache;

static void set_up(void)
{
	cr_assert_eq(plain_cache_new(&cache, 4 * 4096, 2 * 4096), 0);
}

static void tear_down(void)
{
	plain_cache_free(cache);
}

TestSuite(plain_cache, .init = set_up, .fini = tear_down, .timeout = 60);

static struct extent extent(uint32_t number, uint32_t size)
{
	return (struct extent){.chunk = number, .plain_size = size, .key = {(uint8_t)number}};
}

static int claim(uint32_t number, uint32_t size, struct chunk **out)
{
	struct extent x = extent(number, size);

	return plain_cache_claim(cache, &x, out);
}

/* Load chunk `number` and let it go; says what the claim answered. */
static int use(uint32_t number, uint32_t size)
{
	struct chunk *c;
	int r = claim(number, size, &c);

	cr_assert_geq(r, 0);
	if (r == CHUNK_LOAD) {
		memset(c->plain, (int)number, size);
		plain_cache_done(cache, c, 0);
	}
	cr_assert_eq(plain_cache_wait(cache, c), 0);
	cr_assert_eq(c->plain[size - 1], (uint8_t)number);
	plain_cache_release(cache, c);
	return r;
}

/* Whoever holds it to the end of an answer must not make another reader believe that it is kept. */
Test(plain_cache, what_is_not_kept_is_not_found_again)
{
	struct chunk *all, *beyond, *again;

	cr_assert_eq(claim(1, 4 * 4096, &all), CHUNK_LOAD);
	cr_assert_eq(claim(2, 4096, &beyond), CHUNK_LOAD);
	cr_assert_eq(claim(2, 4096, &again), CHUNK_WAIT);
	plain_cache_done(cache, beyond, 0);
	cr_assert_eq(plain_cache_wait(cache, again), 0);
	plain_cache_release(cache, again);
	cr_assert_eq(claim(2, 4096, &again), CHUNK_LOAD);
	cr_assert_neq(again, beyond);
	plain_cache_done(cache, again, -EIO);
	plain_cache_release(cache, again);
	plain_cache_release(cache, beyond);
	memset(all->plain, 1, all->size);
	plain_cache_done(cache, all, 0);
	plain_cache_release(cache, all);
	cr_assert_eq(use(1, 4 * 4096), CHUNK_READY);
}

Test(plain_cache, keeps_what_was_used_last_and_no_more_than_the_cap)
{
	for (uint32_t k = 1; k <= 4; k++)
		cr_assert_eq(use(k, 4096), CHUNK_LOAD);
	cr_assert_eq(use(1, 4096), CHUNK_READY);
	cr_assert_eq(use(5, 4096), CHUNK_LOAD); /* pushes 2 out */
	cr_assert_eq(use(1, 4096), CHUNK_READY);
	cr_assert_eq(use(3, 4096), CHUNK_READY);
	cr_assert_eq(use(2, 4096), CHUNK_LOAD); /* pushes 4 out */
	cr_assert_eq(use(4, 4096), CHUNK_LOAD);
	cr_assert_eq(use(9, 5 * 4096), CHUNK_LOAD); /* larger than the cap: used and gone */
	cr_assert_eq(use(9, 5 * 4096), CHUNK_LOAD);
}

Test(plain_cache, what_is_claimed_stays)
{
	struct chunk *c;

	cr_assert_eq(claim(1, 1000, &c), CHUNK_LOAD);
	memset(c->plain, 77, 4096);
	plain_cache_done(cache, c, 0);
	for (uint32_t k = 2; k < 100; k++)
		(void)use(k, 4096);
	cr_assert_eq(c->plain[4095], 77);
	plain_cache_release(cache, c);
	/* 1 and 1025 share a bucket */
	cr_assert_eq(use(1025, 4096), CHUNK_LOAD);
}

static atomic_int n_claimed;

static void *wait_for_it(void *arg)
{
	struct chunk *c;
	int *result = arg;
	int r = claim(7, 100, &c);

	cr_assert_eq(r, CHUNK_WAIT);
	atomic_fetch_add(&n_claimed, 1);
	*result = plain_cache_wait(cache, c);
	plain_cache_release(cache, c);
	return NULL;
}

Test(plain_cache, one_loads_and_the_others_wait)
{
	for (int outcome = 0; outcome >= -EIO; outcome -= EIO) {
		struct chunk *c;
		pthread_t t[5];
		int results[5];

		cr_assert_eq(claim(7, 100, &c), CHUNK_LOAD);
		n_claimed = 0;
		for (int k = 0; k < 5; k++) {
			results[k] = 1;
			cr_assert_eq(pthread_create(&t[k], NULL, wait_for_it, &results[k]), 0);
		}
		while (n_claimed < 5)
			(void)usleep(1000);
		plain_cache_done(cache, c, outcome);
		/* who comes after a failure loads again */
		if (outcome < 0) {
			struct chunk *again;

			for (int k = 0; k < 5; k++)
				pthread_join(t[k], NULL);
			cr_assert_eq(claim(7, 100, &again), CHUNK_LOAD);
			plain_cache_done(cache, again, -EIO);
			plain_cache_release(cache, again);
		} else {
			for (int k = 0; k < 5; k++)
				pthread_join(t[k], NULL);
		}
		for (int k = 0; k < 5; k++)
			cr_assert_eq(results[k], outcome);
		plain_cache_release(cache, c);
		/* make room for the next round */
		(void)use(8, 4 * 4096);
	}
}

Test(plain_cache, a_chunk_has_one_key_and_one_size)
{
	struct extent x = extent(3, 4096);
	struct chunk *c;

	(void)use(3, 4096);
	x.plain_size = 999;
	cr_assert_eq(plain_cache_claim(cache, &x, &c), -EUCLEAN);
	x.plain_size = 1000;
	x.key[31] = 1;
	cr_assert_eq(plain_cache_claim(cache, &x, &c), -EUCLEAN);
	cr_assert_eq(use(3, 4096), CHUNK_READY);
}

struct reserving {
	size_t n;
	struct extent x[4];
	unsigned int wait_ms;
	size_t got;
	int result;
	_Atomic int done;
};

static void *reserve(void *arg)
{
	struct reserving *q = arg;
	struct deadline deadline = deadline_after(q->wait_ms);

	q->result = plain_cache_reserve(cache, q->x, q->n, q->wait_ms ? &deadline : NULL, &q->got);
	q->done = 1;
	return NULL;
}

static void reserves(struct reserving *q, size_t bytes)
{
	(void)reserve(q);
	cr_assert_eq(q->result, 0);
	cr_assert_eq(q->got, bytes);
}

/* There is room for 2 pages. What is known needs no room, and waits for nobody. */
Test(plain_cache, what_is_loaded_at_once_is_bounded)
{
	struct reserving known = {.n = 1, .x = {extent(1, 4096)}};
	struct reserving two = {.n = 2, .x = {extent(2, 4096), extent(3, 4096)}, .wait_ms = 60000};
	struct reserving first = {.n = 2, .x = {extent(4, 4096), extent(5, 4096)}};
	struct reserving large = {.n = 1, .x = {extent(9, 100 * 4096)}};
	struct chunk *c;
	pthread_t t;

	(void)use(1, 4096);
	reserves(&first, 2 * 4096);
	reserves(&known, 0);
	cr_assert_eq(pthread_create(&t, NULL, reserve, &two), 0);
	(void)usleep(20000);
	cr_assert_not(two.done);
	reserves(&known, 0);

	/* a chunk that is loaded holds its part until it is released; what was not needed goes back */
	cr_assert_eq(claim(4, 4096, &c), CHUNK_LOAD);
	plain_cache_charge(cache, c, &first.got);
	cr_assert_eq(first.got, 4096);
	plain_cache_unreserve(cache, first.got);
	memset(c->plain, 0, 4096);
	plain_cache_done(cache, c, 0);
	(void)usleep(20000);
	cr_assert_not(two.done);
	plain_cache_release(cache, c);
	pthread_join(t, NULL);
	cr_assert_eq(two.result, 0);
	cr_assert_eq(two.got, 2 * 4096);
	plain_cache_unreserve(cache, two.got);
	/* one caller is never too much */
	reserves(&large, 100 * 4096);
	plain_cache_unreserve(cache, large.got);
}

/* However long others hold it: memory is not given out twice. */
Test(plain_cache, who_finds_no_room_gives_up)
{
	struct reserving first = {.n = 2, .x = {extent(4, 4096), extent(5, 4096)}};
	struct reserving late = {.n = 1, .x = {extent(2, 4096)}};

	reserves(&first, 2 * 4096);
	for (late.wait_ms = 0; late.wait_ms <= 50; late.wait_ms += 50) {
		(void)reserve(&late);
		cr_assert_eq(late.result, -ETIMEDOUT);
		cr_assert_eq(late.got, 0);
	}
	plain_cache_unreserve(cache, first.got);
	reserves(&late, 4096);
	plain_cache_unreserve(cache, late.got);
}

/* Small ones do not keep a large one waiting for ever; when it gives up, they go on. */
Test(plain_cache, who_came_first_is_served_first)
{
	struct reserving half = {.n = 1, .x = {extent(4, 4096)}};
	struct reserving large = {.n = 2, .x = {extent(5, 4096), extent(6, 4096)}, .wait_ms = 200};
	struct reserving small = {.n = 1, .x = {extent(7, 4096)}, .wait_ms = 60000};
	pthread_t t[2];

	reserves(&half, 4096);
	cr_assert_eq(pthread_create(&t[0], NULL, reserve, &large), 0);
	(void)usleep(50000);
	cr_assert_eq(pthread_create(&t[1], NULL, reserve, &small), 0);
	(void)usleep(50000);
	cr_assert_not(small.done, "there is room, but somebody was here before");
	pthread_join(t[0], NULL);
	cr_assert_eq(large.result, -ETIMEDOUT);
	pthread_join(t[1], NULL);
	cr_assert_eq(small.got, 4096);
	plain_cache_unreserve(cache, small.got);
	plain_cache_unreserve(cache, half.got);
}
