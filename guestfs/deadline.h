/* SPDX-License-Identifier: Apache-2.0
 * Points in time after which nobody waits any more, on the clock that nobody sets. */
#ifndef COCOON_GUESTFS_DEADLINE_H
#define COCOON_GUESTFS_DEADLINE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct deadline {
	struct timespec at;
};

static inline uint64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline struct deadline deadline_after(unsigned int ms)
{
	struct deadline d;

	(void)clock_gettime(CLOCK_MONOTONIC, &d.at);
	d.at.tv_sec += ms / 1000;
	d.at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (d.at.tv_nsec >= 1000000000) {
		d.at.tv_nsec -= 1000000000;
		d.at.tv_sec++;
	}
	return d;
}

/* Milliseconds until then, rounded up; 0 when it has passed. For poll(2). */
static inline int deadline_left_ms(const struct deadline *d)
{
	struct timespec now;
	int64_t ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (int64_t)(d->at.tv_sec - now.tv_sec) * 1000000000 + (d->at.tv_nsec - now.tv_nsec);
	if (ns <= 0)
		return 0;
	ns = (ns + 999999) / 1000000;
	return ns > INT_MAX ? INT_MAX : (int)ns;
}

static inline bool deadline_passed(const struct deadline *d)
{
	return deadline_left_ms(d) == 0;
}

#endif
