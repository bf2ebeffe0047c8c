/* SPDX-License-Identifier: Apache-2.0
 * Random numbers that a seed decides (splitmix64): the same seed, the same run. */
#ifndef COCOON_TEST_RANDOM_H
#define COCOON_TEST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
	uint64_t x = r->state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* 0 … n − 1; n is not 0. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
	return random_next(r) % n;
}

static inline bool random_one_in(struct random *r, uint64_t n)
{
	return random_below(r, n) == 0;
}

static inline void random_fill(struct random *r, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(random_next(r) >> 24);
}

#endif
