/* SPDX-License-Identifier: Apache-2.0
 * From a seed to what happens: which image, how the guest is used, what goes wrong and when it ends. Many
 * seeds do few things, so that a failure is easy to read. */
#include "sim.h"

#include <string.h>

#define MAX_PEAK (8u << 20) /* of a guest, whatever it is told: three openers, a cache, what is under way */

struct plan plan;
struct totals totals;

static uint32_t below(uint32_t n)
{
	return dice_below(OF_PLAN, n);
}

static bool chance(uint32_t per_mille)
{
	return dice_chance(OF_PLAN, per_mille);
}

/* One of a few values. */
#define one_of(...)                                                                                          \
	((const uint32_t[]){__VA_ARGS__}[below(sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))])

static void plan_link(struct link_faults *f, bool hostile)
{
	unsigned int n = hostile ? N_FAULTS : N_PASSING;
	uint32_t each = one_of(3, 10, 30);

	if (chance(300))
		return;
	/* all kinds seldom, or a few kinds often */
	if (chance(500)) {
		for (unsigned int k = 0; k < n; k++)
			f->chance[k] = each / 3 + 1;
		return;
	}
	for (unsigned int k = 1 + below(3); k > 0; k--)
		f->chance[below(n)] += each * 5;
}

static void plan_events(void)
{
	bool hostile = plan.temper == HOSTILE;
	int64_t at = 0, most = hostile ? one_of(5, 60, 300) * SECOND : 3 * SECOND;

	plan.n_events = below(hostile ? 6 : 4);
	for (unsigned int k = 0; k < plan.n_events; k++) {
		struct event *e = &plan.events[k];

		at += dice_range(OF_PLAN, 0, one_of(1, 5, 20, 60) * SECOND);
		e->at = at;
		e->kind = (enum event_kind)below(N_EVENTS);
		if (!hostile && e->kind == PRESSURE)
			e->kind = RESTART;
		e->lasts = dice_range(OF_PLAN, 0, most);
		at += e->lasts;
	}
	plan.heal_at = at + dice_range(OF_PLAN, SECOND, 20 * SECOND);
}

static void plan_calls(void)
{
	plan.preempt = one_of(0, 20, 100, 400);
	plan.spurious = one_of(0, 0, 20, 200);
	plan.interrupted = one_of(0, 0, 10, 100);
	plan.again = one_of(0, 0, 10, 200);
	plan.short_io = one_of(0, 0, 100, 900);
	plan.window = one_of(2048, 16384, 65536, 262144);
	plan.latency = one_of(0, 20, 200, 5000) * US;
	plan.jitter = one_of(0, 100, 10000) * US;
}

static void plan_faults(void)
{
	bool hostile = plan.temper == HOSTILE;

	plan_link(&plan.answers, hostile);
	plan_link(&plan.requests, hostile);
	plan.budget = hostile ? 10 + below(40) : 8;
	plan.refuse = one_of(0, 0, 50, 300);
	plan.accept_fails = one_of(0, 0, 100);
	plan.registry_fails = one_of(0, 0, 30, 200);
	if (hostile) {
		plan.registry_lies = one_of(0, 0, 50, 300);
		plan.disk_full = one_of(0, 0, 30, 200);
		plan.disk_error = one_of(0, 0, 0, 5, 50);
		plan.pressure = one_of(1, 10, 100);
	}
}

void plan_make(uint64_t seed)
{
	unsigned int k = below(N_IMAGES);

	plan = (struct plan){.seed = seed};
	plan.temper = chance(50) ? CALM : chance(400) ? ROUGH : HOSTILE;
	plan.image = &images[k];
	plan.other = &images[(k + 1 + below(N_IMAGES - 1)) % N_IMAGES];
	plan.vsock = chance(500);
	plan.want_digest = chance(300);
	plan.prefetch = chance(500);
	plan.timeout_ms = plan.temper == HOSTILE ? one_of(3000, 10000, 30000) : 30000;
	plan.wait_ms = one_of(0, 0, 1000, 60000);
	plan.cpus = 1 + below(3);
	plan.cache_bytes = chance(250) ? 4 << 20 : one_of(16384, 65536, 262144);
	plan.n_readers = 1 + below(5);
	plan.n_ops = 2 + below(12);
	plan.verify = chance(100);
	plan_calls();
	if (plan.temper != CALM)
		plan_faults();
	if (plan.temper != CALM)
		plan_events();
	plan.think = plan.heal_at / (plan.n_ops + 1) * 3;
	plan.stop = chance(100);
	plan.stop_at = dice_range(OF_PLAN, 0, plan.heal_at + SECOND);
	plan.registry_delay = one_of(0, 10, 200) * MS;
	plan.cache_max = chance(500) ? 0 : one_of(512, 1024) << 10;
	plan.max_open = one_of(1, 2, 8, 64);
	plan.max_chunks = one_of(4, 64, 4096);
	plan.fetchers = 1 + below(3);
	plan.max_fetch_bytes = one_of(4096, 65536, 1 << 20);
	plan.damage = chance(500) ? 0 : one_of(20, 200, 1000);
}

static void do_event(const struct event *e)
{
	static const char *const names[] = {"event: restart", "event: crash",	  "event: freeze",
					    "event: break",   "event: blackhole", "event: registry away",
					    "event: retag",   "event: pressure"};

	trace(names[e->kind], e->at, e->lasts);
	totals.faults++;
	switch (e->kind) {
	case RESTART:
		host_stop();
		break;
	case CRASH:
		host_crash();
		break;
	case FREEZE:
		sim_freeze(HOST, sim_now() + e->lasts);
		break;
	case BREAK:
		network_break(dice_chance(OF_PLAN, 500));
		break;
	case BLACKHOLE:
		network_blackhole(true);
		break;
	case REGISTRY_AWAY:
		registry_down(true);
		break;
	case RETAG:
		registry_retag();
		break;
	case PRESSURE:
		memory_pressure(plan.pressure);
		break;
	case N_EVENTS:
		break;
	}
	sim_sleep(e->lasts);
	if (e->kind == RESTART || e->kind == CRASH) {
		disk_damage(plan.damage, plan.damage / 4, plan.damage / 4);
		host_start();
	}
	network_blackhole(false);
	registry_down(false);
	memory_pressure(0);
}

static void heal(void)
{
	plan.healed = true;
	plan.healed_at = sim_now();
	trace("healed", 0, 0);
	sim_freeze(HOST, 0);
	registry_reset();
	network_heal();
	sim_wake_all(&plan.healed);
}

void *director(void *arg)
{
	struct fiber *guest;

	(void)arg;
	host_start();
	while (plan.temper == CALM && !host_is_up())
		sim_sleep(MS);
	guest = sim_spawn(GUEST, "guest", guest_main, NULL);
	for (unsigned int k = 0; k < plan.n_events; k++) {
		if (plan.events[k].at > sim_now())
			sim_sleep(plan.events[k].at - sim_now());
		do_event(&plan.events[k]);
	}
	if (plan.heal_at > sim_now())
		sim_sleep(plan.heal_at - sim_now());
	heal();
	sim_join(guest);
	sim_check(sim_fibers_of(GUEST) == 0, "the guest's threads are left: %u", sim_fibers_of(GUEST));
	sim_check(files_open(GUEST) == 0, "the guest's descriptors are left: %u", files_open(GUEST));
	sim_check(memory_blocks(GUEST) == 0, "the guest's memory is left: %zu blocks, %zu bytes",
		  memory_blocks(GUEST), memory_bytes(GUEST));
	sim_check(memory_peak(GUEST) <= MAX_PEAK, "the guest had %zu bytes", memory_peak(GUEST));
	if (memory_peak(GUEST) > totals.peak)
		totals.peak = memory_peak(GUEST);
	host_stop();
	return NULL;
}
