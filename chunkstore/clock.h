/* SPDX-License-Identifier: Apache-2.0
 * The clock that deadlines are measured with. */
#ifndef COCOON_CHUNKSTORE_CLOCK_H
#define COCOON_CHUNKSTORE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds of CLOCK_MONOTONIC. */
static inline int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The same for pthread_cond_timedwait() on a condition of that clock. */
static inline struct timespec timespec_of_ms(int64_t ms)
{
	return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

#endif
