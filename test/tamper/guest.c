/* SPDX-License-Identifier: Apache-2.0
 * The clock that the guest's waits are measured by is wrapped (see CMakeLists.txt) and runs SPEED times as
 * fast: a back-off of 20 ms takes 0.4, a time-out of two minutes 2.4 s. Nothing else of the guest is touched.
 */
#include "guest.h"
#include "guestfs/source_wire.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SPEED 50
#define TIMEOUT_MS 120000u
#define SECOND 1000000000ll

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __real_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
				  const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
				  const struct timespec *until);

static long long nanoseconds(const struct timespec *t)
{
	return t->tv_sec * SECOND + t->tv_nsec;
}

static struct timespec timespec_of(long long ns)
{
	return (struct timespec){ns / SECOND, ns % SECOND};
}

/* Since the machine started: SPEED times that is far from any limit. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int r = __real_clock_gettime(clock, t);

	if (r == 0 && clock == CLOCK_MONOTONIC)
		*t = timespec_of(nanoseconds(t) * SPEED);
	return r;
}

int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
				  const struct timespec *until)
{
	struct timespec t = timespec_of(nanoseconds(until) / SPEED);

	return __real_pthread_cond_clockwait(c, m, clock, clock == CLOCK_MONOTONIC ? &t : until);
}

struct source *guest_source(const char *path)
{
	struct reference reference;
	char address[200];
	struct source *s;
	struct err e = {""};

	(void)snprintf(address, sizeof(address), "unix:%s", path);
	if (reference_parse(&reference, "test.example/image:1", &e) < 0 ||
	    source_wire_new(&s,
			    &(struct source_wire_options){
				    .address = address, .reference = &reference, .timeout_ms = TIMEOUT_MS},
			    &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	return s;
}
