/* SPDX-License-Identifier: Apache-2.0
 * The threads, locks, conditions and clocks that the code under test sees. A lock knows its owner: what is
 * undefined for a real one (unlocking another's, destroying a held one, using a destroyed one) ends the run.
 */
#include "fibers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_MAGIC 0x6b636f6cu
#define CONDITION_MAGIC 0x646e6f63u

#define DESTROYED 0x656e6f67u

/* In the storage of a pthread_mutex_t. All zero is PTHREAD_MUTEX_INITIALIZER. */
struct lock {
	uint32_t magic;
	int owner;
};

/* In the storage of a pthread_cond_t. */
struct condition {
	uint32_t magic;
	unsigned int waiters;
};

_Static_assert(sizeof(struct lock) <= sizeof(pthread_mutex_t), "a lock fits");
_Static_assert(sizeof(struct condition) <= sizeof(pthread_cond_t), "a condition fits");

static struct lock *lock_of(pthread_mutex_t *m)
{
	struct lock *l = (struct lock *)m;

	sim_check(l->magic == LOCK_MAGIC || l->magic == 0, "a lock that is none, or was destroyed");
	return l;
}

static struct condition *condition_of(pthread_cond_t *c)
{
	struct condition *x = (struct condition *)c;

	sim_check(x->magic == CONDITION_MAGIC, "a condition that is none, or was destroyed");
	return x;
}

int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a);
int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *a)
{
	(void)a;
	*(struct lock *)m = (struct lock){.magic = LOCK_MAGIC};
	return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *m);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *m)
{
	struct lock *l = lock_of(m);

	sim_check(l->owner == 0, "a lock is destroyed while thread %d holds it", l->owner);
	l->magic = DESTROYED;
	return 0;
}

static void take(struct lock *l)
{
	struct fiber *f = sim_current();

	if (!f)
		return; /* the simulator makes its images with the code under test */
	sim_check(l->owner != f->number, "a thread waits for a lock that it holds");
	while (l->owner != 0) {
		(void)sim_wait(l, -1);
		sim_check(l->magic != DESTROYED, "a lock was destroyed while a thread waited for it");
	}
	l->owner = f->number;
	f->held++;
}

static void give(struct lock *l)
{
	struct fiber *f = sim_current();

	if (!f)
		return;
	sim_check(l->owner == f->number, "a thread gives back a lock that it does not hold");
	l->owner = 0;
	f->held--;
	sim_wake_all(l);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
	sim_preempt();
	take(lock_of(m));
	return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
	give(lock_of(m));
	sim_preempt();
	return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a);
int __wrap_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *a)
{
	(void)a;
	*(struct condition *)c = (struct condition){.magic = CONDITION_MAGIC};
	return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *c);
int __wrap_pthread_cond_destroy(pthread_cond_t *c)
{
	struct condition *x = condition_of(c);

	sim_check(x->waiters == 0, "a condition is destroyed while %u threads wait for it", x->waiters);
	x->magic = 0;
	return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *c);
int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
	sim_wake_one(condition_of(c));
	sim_preempt();
	return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
	sim_wake_all(condition_of(c));
	sim_preempt();
	return 0;
}

/* A wait may end for no reason at all. */
static int wait_condition(pthread_cond_t *c, pthread_mutex_t *m, int64_t until)
{
	struct condition *x = condition_of(c);
	struct lock *l = lock_of(m);
	bool woken;

	if (dice_chance(OF_SCHEDULE, plan.spurious)) {
		int64_t early = sim_now() + dice_range(OF_SCHEDULE, 0, 10 * MS);

		give(l);
		x->waiters++;
		woken = sim_wait(x, until >= 0 && until < early ? until : early);
		x->waiters--;
		take(l);
		return !woken && until >= 0 && sim_now() >= until ? ETIMEDOUT : 0;
	}
	give(l);
	x->waiters++;
	woken = sim_wait(x, until);
	x->waiters--;
	take(l);
	return woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	(void)wait_condition(c, m, -1);
	return 0;
}

int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
				  const struct timespec *at);
int __wrap_pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock,
				  const struct timespec *at)
{
	sim_check(clock == CLOCK_MONOTONIC, "a wait by a clock that somebody may set");
	return wait_condition(c, m, at->tv_sec * SECOND + at->tv_nsec);
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *a, void *(*start)(void *), void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *a, void *(*start)(void *), void *arg)
{
	struct fiber *f;

	(void)a;
	if (memory_refuses())
		return EAGAIN;
	f = sim_spawn(sim_side(), sim_side() == GUEST ? "guest" : "host", start, arg);
	*out = (pthread_t)f->number;
	sim_preempt();
	return 0;
}

int __wrap_pthread_join(pthread_t t, void **result);
int __wrap_pthread_join(pthread_t t, void **result)
{
	struct fiber *f = sim_find((int)t);
	void *r;

	sim_check(f, "a thread is joined that does not exist, or twice");
	r = sim_join_result(f);
	if (result)
		*result = r;
	return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	(void)how, (void)set, (void)old;
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	sim_pass(100); /* who looks at the clock again and again sees it move */
	*t = (struct timespec){sim_now() / SECOND, sim_now() % SECOND};
	return 0;
}

int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
	(void)clock, (void)left;
	sim_check(flags == 0, "a sleep until a point in time");
	sim_sleep(t->tv_sec * SECOND + t->tv_nsec);
	return 0;
}

int __wrap_usleep(useconds_t us);
int __wrap_usleep(useconds_t us)
{
	sim_sleep(us * US);
	return 0;
}

long __real_sysconf(int name);
long __wrap_sysconf(int name);
long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? (long)plan.cpus : __real_sysconf(name);
}

pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
	return 1;
}
