/* SPDX-License-Identifier: Apache-2.0
 * What fibers.c and threads.c share. */
#ifndef COCOON_TEST_SIM_FIBERS_H
#define COCOON_TEST_SIM_FIBERS_H

#include "sim.h"

#include <poll.h>
#include <setjmp.h>
#include <ucontext.h>

#define MAX_FIBERS 1200u

struct fiber {
	ucontext_t context;
	jmp_buf jump;
	bool begun;
	int number; /* counts from 1; what a pthread_t holds */
	enum side side;
	const char *name;
	enum { UNUSED, RUNNABLE, WAITING, FINISHED } state;
	void *(*start)(void *);
	void *arg, *result;
	const void *on; /* what it waits for */
	int64_t until;	/* negative: no limit */
	bool timed_out;
	const struct pollfd *fds;
	size_t n_fds;
	int saved_errno;
	unsigned int held; /* locks */
	int64_t limit;	   /* of a promise; 0: none */
	const char *promise;
	void *fake; /* AddressSanitizer's */
};

struct fiber *sim_current(void);
struct fiber *sim_find(int number); /* NULL: none */
void *sim_join_result(struct fiber *f);
void sim_wake_one(const void *on);
void sim_yield(void);

#endif
