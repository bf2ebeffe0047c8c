/* SPDX-License-Identifier: Apache-2.0
 * What the guest does with an image while calls fail, and what it must come to. */
#ifndef COCOON_TEST_FAILURE_PHASES_H
#define COCOON_TEST_FAILURE_PHASES_H

#include "inject.h"
#include "subject.h"

/* One fault in one phase. */
struct trial {
	const struct subject *subject;
	const struct book *book;
	size_t fault;
	uint64_t at;
	bool always, trace;
};

/* What came of it, for another process to read. */
struct outcome {
	uint64_t seen;	    /* calls of the kind, while they could fail */
	uint64_t failed;    /* of them */
	unsigned int clean; /* errors that the guest gave */
	bool wrong;
	char words[700]; /* of what is wrong, or else of the first clean error */
};

struct phase {
	const char *name;
	bool cold; /* the fault meets libraries that were never used: only the process' own end is clean then
		    */
	void (*run)(const struct trial *t, struct outcome *o);
};

extern const struct phase phases[];
extern const size_t n_phases;

/* Runs the phase in this process: as often as it takes to tell a leak from what libraries keep for ever. */
void phase_run(const struct phase *p, const struct trial *t, struct outcome *o);

#endif
