/* SPDX-License-Identifier: Apache-2.0
 * Every phase under every fault at every index, each in a process of its own: a crash, an abort or a hang is
 * one result among others. See usage(). */
#include "phases.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_SECONDS 20
#define SLICE 6 /* indices of a fault and a phase */

struct shared {
	struct inject_order order;
	struct outcome outcome;
};

struct run {
	struct subject subject;
	struct book book;
	struct shared *shared;
	unsigned int slice; /* 0: all indices */
	const char *fault;  /* NULL: all */
	uint64_t at;	    /* 0: all */
	int always;	    /* -1: both */
	bool trace;
	unsigned long trials, wrong;
};

static void usage(void)
{
	(void)fputs(
		"Usage: test-failure [--slice] [--fault CALL/ERROR] [--once|--always] [--at N [--trace]] "
		"PHASE...\n"
		"       test-failure --faults | --phases\n"
		"Without --slice every call of every kind fails in turn, until a phase has no more of them.\n"
		"PHASE may be \"all\".\n",
		stderr);
}

_Noreturn static void child(struct run *run, const struct phase *p, const struct trial *t)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	inject_tell_crashes();
	(void)alarm(HANG_SECONDS);
	phase_run(p, t, &run->shared->outcome);
	exit(0); /* where a sanitizer looks for leaks */
}

static const char *end_of(int status, char words[static 64])
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		(void)snprintf(words, 64, "hangs");
	else if (WIFSIGNALED(status))
		(void)snprintf(words, 64, "ended by signal %d", WTERMSIG(status));
	else
		(void)snprintf(words, 64, "ended with status %d", WEXITSTATUS(status));
	return words;
}

/* Whether the index was reached. */
static bool try_one(struct run *run, const struct phase *p, const struct trial *t)
{
	struct outcome *o = &run->shared->outcome;
	char words[64];
	int status = 0;
	pid_t pid;

	*run->shared = (struct shared){0};
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(run, p, t);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	run->trials++;
	if (status != 0 || o->wrong) {
		run->wrong++;
		(void)printf("WRONG  %s --fault %s %s --at %lu: %s\n", p->name, inject_faults[t->fault].name,
			     t->always ? "--always" : "--once", (unsigned long)t->at,
			     status != 0 ? end_of(status, words) : o->words);
	} else if (run->at) {
		(void)printf("%lu calls, %lu failed, %u errors; %s\n", (unsigned long)o->seen,
			     (unsigned long)o->failed, o->clean, o->words);
	}
	return status != 0 || o->seen >= t->at;
}

/* Threads make the number of calls vary: two indices in a row that were not reached are the end. */
static void sweep(struct run *run, const struct phase *p, size_t fault, bool always)
{
	struct trial t = {&run->subject, &run->book, fault, UINT64_MAX, always, run->trace};
	unsigned long trials = run->trials, wrong = run->wrong, calls, step = 1;
	unsigned int clean = 0, missed = 0;

	if (run->at) {
		t.at = run->at;
		(void)try_one(run, p, &t);
		return;
	}
	(void)try_one(run, p, &t);
	calls = run->shared->outcome.seen;
	if (run->slice && calls > run->slice)
		step = calls / run->slice;
	for (t.at = 1; missed < 2 && (t.at <= calls || !run->slice); t.at += step) {
		missed = try_one(run, p, &t) ? 0 : missed + 1;
		clean += run->shared->outcome.clean > 0;
	}
	if (calls > 0)
		(void)printf("%s  %-10s %-22s %-6s %6lu calls, %5lu tried, %5u gave an error\n",
			     run->wrong > wrong ? "FAILED" : "ok    ", p->name, inject_faults[fault].name,
			     always ? "always" : "once", calls, run->trials - trials - 1, clean);
}

static void run_phase(struct run *run, const struct phase *p)
{
	for (size_t k = 0; k < inject_n_faults; k++) {
		const struct inject_fault *f = &inject_faults[k];

		if (!(f->flags & IN_IMAGE) || (run->fault && strcmp(run->fault, f->name) != 0))
			continue;
		for (int always = 0; always <= !(f->flags & HARMLESS); always++)
			if (run->always < 0 || run->always == always)
				sweep(run, p, k, always);
	}
}

static int parse(struct run *run, int argc, char **argv)
{
	static const struct option names[] = {
		{"slice", no_argument, NULL, 's'},
		{"fault", required_argument, NULL, 'f'},
		{"once", no_argument, NULL, 'o'},
		{"always", no_argument, NULL, 'a'},
		{"at", required_argument, NULL, 'n'},
		{"trace", no_argument, NULL, 't'},
		{"faults", no_argument, NULL, 'F'},
		{"phases", no_argument, NULL, 'P'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 's':
			run->slice = SLICE;
			break;
		case 'f':
			run->fault = optarg;
			break;
		case 'o':
		case 'a':
			run->always = c == 'a';
			break;
		case 'n':
			run->at = strtoul(optarg, NULL, 10);
			break;
		case 't':
			run->trace = true;
			break;
		case 'F':
			for (size_t k = 0; k < inject_n_faults; k++)
				(void)printf("%zu %s %u %u\n", k, inject_faults[k].name,
					     inject_faults[k].flags, (unsigned int)inject_faults[k].call);
			exit(0);
		case 'P':
			for (size_t k = 0; k < n_phases; k++)
				(void)puts(phases[k].name);
			exit(0);
		default:
			return -1;
		}
	}
	return optind < argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	static struct run run = {.always = -1};
	bool found = false;

	if (parse(&run, argc, argv) < 0) {
		usage();
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	run.shared =
		mmap(NULL, sizeof(*run.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.shared == MAP_FAILED)
		return 2;
	inject_order = &run.shared->order;
	subject_make(&run.subject);
	book_make(&run.book, &run.subject);
	for (; optind < argc; optind++) {
		for (size_t k = 0; k < n_phases; k++) {
			if (strcmp(argv[optind], "all") == 0 || strcmp(argv[optind], phases[k].name) == 0) {
				run_phase(&run, &phases[k]);
				found = true;
			}
		}
	}
	subject_drop(&run.subject);
	(void)printf("%lu trials, %lu wrong\n", run.trials, run.wrong);
	return !found || run.wrong > 0;
}
