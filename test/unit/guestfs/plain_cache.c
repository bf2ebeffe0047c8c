/* SPDX-License-Identifier: Apache-2.0
 * The cache of plaintext chunks: what it keeps, what it shares, what it forgets. */
#include "guestfs/plain_cache.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static struct plain_cache *cache;

static void set_up(void)
{
	cr_assert_eq(plain_cache_new(&cache, 4000), 0);
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

Test(plain_cache, keeps_what_was_used_last_and_no_more_than_the_cap)
{
	for (uint32_t k = 1; k <= 4; k++)
		cr_assert_eq(use(k, 1000), CHUNK_LOAD);
	cr_assert_eq(use(1, 1000), CHUNK_READY);
	cr_assert_eq(use(5, 1000), CHUNK_LOAD); /* pushes 2 out */
	cr_assert_eq(use(1, 1000), CHUNK_READY);
	cr_assert_eq(use(3, 1000), CHUNK_READY);
	cr_assert_eq(use(2, 1000), CHUNK_LOAD); /* pushes 4 out */
	cr_assert_eq(use(4, 1000), CHUNK_LOAD);
	cr_assert_eq(use(9, 5000), CHUNK_LOAD); /* larger than the cap: used and gone */
	cr_assert_eq(use(9, 5000), CHUNK_LOAD);
}

Test(plain_cache, what_is_claimed_stays)
{
	struct chunk *c;

	cr_assert_eq(claim(1, 1000, &c), CHUNK_LOAD);
	memset(c->plain, 77, 1000);
	plain_cache_done(cache, c, 0);
	for (uint32_t k = 2; k < 100; k++)
		(void)use(k, 1000);
	cr_assert_eq(c->plain[999], 77);
	plain_cache_release(cache, c);
	/* 1 and 1025 share a bucket */
	cr_assert_eq(use(1025, 1000), CHUNK_LOAD);
}

static void *wait_for_it(void *arg)
{
	struct chunk *c;
	int *result = arg;
	int r = claim(7, 100, &c);

	cr_assert(r == CHUNK_WAIT || r == CHUNK_READY);
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
		for (int k = 0; k < 5; k++) {
			results[k] = 1;
			cr_assert_eq(pthread_create(&t[k], NULL, wait_for_it, &results[k]), 0);
		}
		(void)usleep(20000);
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
		(void)use(8, 4000);
	}
}

Test(plain_cache, a_chunk_has_one_key_and_one_size)
{
	struct extent x = extent(3, 1000);
	struct chunk *c;

	(void)use(3, 1000);
	x.plain_size = 999;
	cr_assert_eq(plain_cache_claim(cache, &x, &c), -EUCLEAN);
	x.plain_size = 1000;
	x.key[31] = 1;
	cr_assert_eq(plain_cache_claim(cache, &x, &c), -EUCLEAN);
	cr_assert_eq(use(3, 1000), CHUNK_READY);
}
