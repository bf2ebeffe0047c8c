/* SPDX-License-Identifier: Apache-2.0
 * Cooperative fibers and the simulated clock. Whoever runs goes on until it waits or is preempted by the
 * dice; the next is drawn among those that can run; when none can, time jumps to the next moment at which one
 * can. No such moment is a deadlock. */
#include "sim.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fibers.h"

#define STACK_SIZE (256u << 10)
#define GUARD_SIZE 4096u	     /* below each stack */
#define MAX_STEPS 3000000u	     /* of one run: more is two threads that wake each other for ever */
#define MAX_TIME (4 * 3600 * SECOND) /* the same, slower */

static struct fiber fibers[MAX_FIBERS];
static uint8_t stacks[MAX_FIBERS][STACK_SIZE] __attribute__((aligned(GUARD_SIZE)));
static unsigned int n_slots; /* slots that were used in this run */
static struct fiber *running;
static jmp_buf scheduler; /* contexts begin a fiber; after that jumps are enough, and cost no system call */
static int64_t now, frozen_until[N_SIDES];
static int last_number;
static unsigned int n_steps;
static char failure[1024];
static bool failed;

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
#define leave(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define arrive(saved, bottom, size) __sanitizer_finish_switch_fiber(saved, bottom, size)
#else
#define leave(save, bottom, size) ((void)0)
#define arrive(saved, bottom, size) ((void)0)
#endif

int64_t sim_now(void)
{
	return now;
}

void sim_pass(int64_t ns)
{
	now += ns;
}

struct fiber *sim_current(void)
{
	return running;
}

enum side sim_side(void)
{
	return running ? running->side : WORLD;
}

const char *sim_failure(void)
{
	return failed ? failure : NULL;
}

/* Back to the scheduler; returns when this fiber is drawn. */
static void give_up(void)
{
	struct fiber *f = running;

	f->saved_errno = errno;
	leave(f->state == FINISHED ? NULL : &f->fake, scheduler_stack, scheduler_size);
	if (_setjmp(f->jump) == 0)
		_longjmp(scheduler, 1);
	arrive(f->fake, &scheduler_stack, &scheduler_size);
	errno = f->saved_errno;
}

void sim_fail(const char *format, ...)
{
	size_t at;
	va_list args;

	if (!running)
		abort();
	(void)snprintf(failure, sizeof(failure), "at %lld.%06lld s, %s %d: ", (long long)(now / SECOND),
		       (long long)(now % SECOND / US), running->name, running->number);
	at = strlen(failure);
	va_start(args, format);
	(void)vsnprintf(failure + at, sizeof(failure) - at, format, args);
	va_end(args);
	failed = true;
	give_up();
	abort();
}

bool sim_wait(const void *on, int64_t until)
{
	struct fiber *f = running;

	f->on = on;
	f->until = until;
	f->timed_out = false;
	f->state = WAITING;
	give_up();
	f->on = NULL;
	return !f->timed_out;
}

bool sim_wait_fds(const struct pollfd *fds, size_t n, int64_t until)
{
	struct fiber *f = running;
	bool woken;

	f->fds = fds;
	f->n_fds = n;
	woken = sim_wait(fds, until);
	f->fds = NULL;
	f->n_fds = 0;
	return woken;
}

void sim_sleep(int64_t ns)
{
	(void)sim_wait(&now, now + (ns > 0 ? ns : 0));
}

void sim_yield(void)
{
	give_up();
}

void sim_preempt(void)
{
	if (running && dice_chance(OF_SCHEDULE, plan.preempt))
		give_up();
}

void sim_wake_all(const void *on)
{
	for (unsigned int i = 0; i < n_slots; i++)
		if (fibers[i].state == WAITING && fibers[i].on == on)
			fibers[i].state = RUNNABLE;
}

void sim_wake_one(const void *on)
{
	unsigned int n = 0, k;

	for (unsigned int i = 0; i < n_slots; i++)
		n += fibers[i].state == WAITING && fibers[i].on == on;
	if (n == 0)
		return;
	k = dice_below(OF_SCHEDULE, n);
	for (unsigned int i = 0; i < n_slots; i++)
		if (fibers[i].state == WAITING && fibers[i].on == on && k-- == 0)
			fibers[i].state = RUNNABLE;
}

void sim_wake_fd(int fd)
{
	for (unsigned int i = 0; i < n_slots; i++)
		for (size_t k = 0; fibers[i].state == WAITING && k < fibers[i].n_fds; k++)
			if (fibers[i].fds[k].fd == fd)
				fibers[i].state = RUNNABLE;
}

void sim_promise(int64_t limit, const char *what)
{
	running->limit = limit;
	running->promise = what;
}

void sim_promise_all(enum side side, int64_t limit)
{
	for (unsigned int i = 0; i < n_slots; i++)
		if (fibers[i].state != UNUSED && fibers[i].side == side && fibers[i].limit > limit)
			fibers[i].limit = limit;
}

static void entry(void)
{
	struct fiber *f = running;

	arrive(NULL, &scheduler_stack, &scheduler_size);
	f->result = f->start(f->arg);
	sim_check(f->held == 0, "a thread ends and holds %u locks", f->held);
	f->state = FINISHED;
	sim_wake_all(f);
	give_up();
	abort();
}

static void prepare(ucontext_t *c, uint8_t *stack)
{
	if (getcontext(c) < 0 || mprotect(stack, GUARD_SIZE, PROT_NONE) < 0)
		abort();
	c->uc_stack.ss_sp = stack + GUARD_SIZE;
	c->uc_stack.ss_size = STACK_SIZE - GUARD_SIZE;
	c->uc_link = NULL;
	makecontext(c, entry, 0);
}

struct fiber *sim_spawn(enum side side, const char *name, void *(*start)(void *), void *arg)
{
	unsigned int i = 0;
	struct fiber *f;

	while (i < n_slots && fibers[i].state != UNUSED)
		i++;
	if (i == MAX_FIBERS)
		sim_fail("more than %u threads", MAX_FIBERS);
	if (i == n_slots)
		n_slots++;
	f = &fibers[i];
	*f = (struct fiber){.number = ++last_number,
			    .side = side,
			    .name = name,
			    .state = RUNNABLE,
			    .start = start,
			    .arg = arg,
			    .until = -1};
	prepare(&f->context, stacks[i]);
	trace("thread", f->number, side);
	return f;
}

void *sim_join_result(struct fiber *f)
{
	while (f->state != FINISHED)
		(void)sim_wait(f, -1);
	f->state = UNUSED;
	return f->result;
}

void sim_join(struct fiber *f)
{
	(void)sim_join_result(f);
}

struct fiber *sim_find(int number)
{
	for (unsigned int i = 0; i < n_slots; i++)
		if (fibers[i].state != UNUSED && fibers[i].number == number)
			return &fibers[i];
	return NULL;
}

unsigned int sim_fibers_of(enum side side)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_slots; i++)
		n += fibers[i].state != UNUSED && fibers[i].side == side;
	return n;
}

void sim_kill(enum side side)
{
	for (unsigned int i = 0; i < n_slots; i++)
		if (fibers[i].side == side && &fibers[i] != running)
			fibers[i].state = UNUSED;
	frozen_until[side] = 0;
}

void sim_freeze(enum side side, int64_t until)
{
	frozen_until[side] = until;
}

static void tell_deadlock(void)
{
	size_t at = (size_t)snprintf(failure, sizeof(failure),
				     "at %lld.%06lld s: deadlock:", (long long)(now / SECOND),
				     (long long)(now % SECOND / US));

	for (unsigned int i = 0; i < n_slots && at < sizeof(failure) - 100; i++)
		if (fibers[i].state == WAITING)
			at += (size_t)snprintf(failure + at, sizeof(failure) - at, " %s %d (%s)",
					       fibers[i].name, fibers[i].number,
					       fibers[i].n_fds	   ? "polls"
					       : fibers[i].promise ? fibers[i].promise
								   : "waits");
	failed = true;
}

/* Who can run now, and when somebody can if nobody does. */
static unsigned int look(struct fiber *ready[static MAX_FIBERS], int64_t *next)
{
	unsigned int n = 0;

	*next = INT64_MAX;
	for (unsigned int i = 0; i < n_slots; i++) {
		struct fiber *f = &fibers[i];
		int64_t at = frozen_until[f->side];

		if (f->state == WAITING && f->until >= 0 && f->until <= now) {
			f->state = RUNNABLE;
			f->timed_out = true;
		}
		if (f->state == RUNNABLE && at <= now)
			ready[n++] = f;
		else if (f->state == RUNNABLE && at < *next)
			*next = at;
		else if (f->state == WAITING && f->until >= 0 && f->until < *next)
			*next = f->until;
	}
	return n;
}

static void check_promises(void)
{
	for (unsigned int i = 0; i < n_slots; i++) {
		struct fiber *f = &fibers[i];

		if (f->state == UNUSED || f->limit == 0 || now <= f->limit)
			continue;
		(void)snprintf(failure, sizeof(failure), "at %lld.%06lld s: %s %d: %s does not end",
			       (long long)(now / SECOND), (long long)(now % SECOND / US), f->name, f->number,
			       f->promise);
		failed = true;
	}
}

__attribute__((noreturn)) static void resume(struct fiber *f)
{
	if (f->begun)
		_longjmp(f->jump, 1);
	f->begun = true;
	(void)setcontext(&f->context);
	abort();
}

static void run_one(struct fiber *f)
{
	running = f;
	trace("run", f->number, 0);
	leave(&scheduler_fake, stacks[f - fibers] + GUARD_SIZE, STACK_SIZE - GUARD_SIZE);
	if (_setjmp(scheduler) == 0)
		resume(f);
	arrive(scheduler_fake, NULL, NULL);
	running = NULL;
}

void sim_run(void *(*first)(void *), void *arg)
{
	struct fiber *ready[MAX_FIBERS], *director_fiber;
	int64_t next;

	now = 0;
	memset(frozen_until, 0, sizeof(frozen_until));
	last_number = 0;
	n_steps = 0;
	failed = false;
	for (unsigned int i = 0; i < n_slots; i++)
		fibers[i].state = UNUSED;
	n_slots = 0;
	director_fiber = sim_spawn(WORLD, "director", first, arg);
	while (!failed && director_fiber->state != FINISHED) {
		unsigned int n = look(ready, &next);

		if (n > 0) {
			run_one(ready[dice_below(OF_SCHEDULE, n)]);
			if (++n_steps > MAX_STEPS || now > MAX_TIME) {
				failed = true;
				(void)snprintf(failure, sizeof(failure), "no end after %u steps, %lld s",
					       n_steps, (long long)(now / SECOND));
			}
		} else if (next == INT64_MAX) {
			tell_deadlock();
		} else {
			now = next;
			check_promises();
		}
	}
	totals.switches += n_steps;
	totals.simulated += now;
}
