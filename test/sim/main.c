/* SPDX-License-Identifier: Apache-2.0
 * sim --seeds FIRST-LAST [--jobs N] [--digests] runs many seeds and tells the failing ones (with --digests
 * the digest of each one's trace); sim --seed N [--trace] runs one. Each process takes its share of the
 * seeds; what one was doing when it crashed is told as well. */
#include "proto/base/log.h"
#include "sim.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 64
#define SEED_SECONDS 60 /* of processor time: more is a loop that never asks anything of the outside */

/* Shared by all processes. */
struct job {
	struct totals totals;
	uint64_t seed; /* that it runs */
	bool done;
};

static void tell_plan(void)
{
	static const char *const tempers[] = {"calm", "rough", "hostile"};

	printf("plan: %s, image %d (other %d) over %s, timeout %u ms, wait %u ms, %u processors, cache %zu\n",
	       tempers[plan.temper], (int)(plan.image - images), (int)(plan.other - images),
	       plan.vsock ? "vsock" : "unix", plan.timeout_ms, plan.wait_ms, plan.cpus, plan.cache_bytes);
	printf("plan: %u readers, %u calls each%s%s, heals at %.1f s\n", plan.n_readers, plan.n_ops,
	       plan.prefetch ? ", start-up list" : "", plan.stop ? ", stopped" : "",
	       (double)plan.heal_at / 1e9);
	printf("plan: host of %u open requests, %u chunks, %u fetchers, %llu bytes fetched, cache %llu\n",
	       plan.max_open, plan.max_chunks, plan.fetchers, (unsigned long long)plan.max_fetch_bytes,
	       (unsigned long long)plan.cache_max);
}

static bool digests;

static bool run_seed(uint64_t seed, bool print)
{
	char digest[65];

	(void)setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {SEED_SECONDS, 0}}, NULL);
	dice_init(seed);
	trace_init(print);
	plan_make(seed);
	if (print)
		tell_plan();
	disk_reset();
	registry_reset();
	host_reset();
	sim_run(director, NULL);
	trace_end(digest);
	files_reset();
	sockets_reset();
	network_reset();
	memory_reset();
	totals.runs++;
	if (sim_failure()) {
		totals.failed++;
		printf("seed %llu FAILS (%s) %s\n", (unsigned long long)seed,
		       plan.temper == CALM    ? "calm"
		       : plan.temper == ROUGH ? "rough"
					      : "hostile",
		       sim_failure());
	}
	if (print || digests || sim_failure())
		printf("seed %llu trace %s\n", (unsigned long long)seed, digest);
	(void)fflush(stdout);
	return sim_failure() == NULL;
}

static void add_totals(struct totals *to, const struct totals *x)
{
	to->runs += x->runs;
	to->failed += x->failed;
	to->calls += x->calls;
	to->calls_failed += x->calls_failed;
	to->bytes += x->bytes;
	to->mounts += x->mounts;
	to->mounts_failed += x->mounts_failed;
	to->switches += x->switches;
	to->frames += x->frames;
	to->faults += x->faults;
	to->starts += x->starts;
	to->verifies += x->verifies;
	to->simulated += x->simulated;
	to->longest = x->longest > to->longest ? x->longest : to->longest;
	to->patience = x->patience > to->patience ? x->patience : to->patience;
	to->peak = x->peak > to->peak ? x->peak : to->peak;
}

static void tell(const struct totals *t, double seconds)
{
	printf("%llu seeds, %llu failed, %.0f s: %.0f seeds/s\n", (unsigned long long)t->runs,
	       (unsigned long long)t->failed, seconds, (double)t->runs / seconds);
	printf("  %.1f hours simulated, %llu thread switches, %llu starts of the host\n",
	       (double)t->simulated / 3600e9, (unsigned long long)t->switches, (unsigned long long)t->starts);
	printf("  %llu frames, %llu faults\n", (unsigned long long)t->frames, (unsigned long long)t->faults);
	printf("  %llu mounts (%llu refused), %llu calls (%llu failed), %.1f MB compared, %llu verified "
	       "whole\n",
	       (unsigned long long)t->mounts, (unsigned long long)t->mounts_failed,
	       (unsigned long long)t->calls, (unsigned long long)t->calls_failed, (double)t->bytes / 1e6,
	       (unsigned long long)t->verifies);
	printf("  longest call %.1f s, longest read %.2f of its time-out, most memory of a guest %.1f MB\n",
	       (double)t->longest / 1e9, (double)t->patience / 100, (double)t->peak / 1e6);
}

static void work(struct job *job, uint64_t first, uint64_t last, unsigned int step)
{
	images_make();
	for (uint64_t seed = first; seed <= last; seed += step) {
		job->seed = seed;
		(void)run_seed(seed, false);
		job->totals = totals;
	}
	job->done = true;
}

/* mmap() is the simulated host's. */
void *__real_mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset);

static double seconds_now(void)
{
	struct timespec t;

	(void)timespec_get(&t, TIME_UTC);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A share that crashes goes on behind the seed that did it. */
static int run_many(uint64_t first, uint64_t last, unsigned int n_jobs)
{
	struct job *jobs = __real_mmap64(NULL, sizeof(*jobs) * MAX_JOBS, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct totals all = {0};
	pid_t pids[MAX_JOBS];
	double start = seconds_now();

	if (jobs == MAP_FAILED)
		abort();
	(void)fflush(stdout);
	for (unsigned int k = 0; k < n_jobs; k++) {
		jobs[k].seed = first + k;
		pids[k] = fork();
		if (pids[k] == 0) {
			work(&jobs[k], first + k, last, n_jobs);
			_exit(0);
		}
	}
	for (unsigned int k = 0; k < n_jobs; k++) {
		int status = 0;

		(void)waitpid(pids[k], &status, 0);
		while (!jobs[k].done) {
			uint64_t seed = jobs[k].seed;

			printf("seed %llu FAILS: the process ends (status 0x%x)\n", (unsigned long long)seed,
			       (unsigned int)status);
			jobs[k].totals.runs++;
			jobs[k].totals.failed++;
			add_totals(&all, &jobs[k].totals);
			memset(&jobs[k], 0, sizeof(jobs[k]));
			(void)fflush(stdout);
			pids[k] = fork();
			if (pids[k] == 0) {
				jobs[k].seed = seed + n_jobs;
				work(&jobs[k], seed + n_jobs, last, n_jobs);
				_exit(0);
			}
			(void)waitpid(pids[k], &status, 0);
		}
		add_totals(&all, &jobs[k].totals);
	}
	tell(&all, seconds_now() - start);
	return all.failed ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: sim --seed N [--trace] | --seeds FIRST-LAST [--jobs N] [--digests]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'S'},
		{"jobs", required_argument, NULL, 'j'}, {"trace", no_argument, NULL, 't'},
		{"digests", no_argument, NULL, 'd'},	{NULL, 0, NULL, 0}};
	unsigned long long first = 0, last = 0;
	unsigned int n_jobs = 1;
	bool one = false, many = false, print = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			one = sscanf(optarg, "%llu", &first) == 1;
		else if (c == 'S')
			many = sscanf(optarg, "%llu-%llu", &first, &last) == 2;
		else if (c == 'j')
			n_jobs = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 't')
			print = true;
		else if (c == 'd')
			digests = true;
		else
			return usage();
	}
	if (one == many || n_jobs < 1 || n_jobs > MAX_JOBS || optind != argc)
		return usage();
	/* large blocks come and go with each seed: keep them */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
	log_init("sim", LOG_LEVEL_WARN);
	if (many)
		return run_many(first, last, n_jobs);
	images_make();
	if (!run_seed(first, print))
		return 1;
	if (!print)
		tell(&totals, 1);
	return 0;
}
