/* SPDX-License-Identifier: Apache-2.0
 * A filter of system calls for seccomp(2), made of rules. It allocates nothing: libseccomp, which would make
 * it too, writes out of bounds when an allocation fails while it loads one (2.5.4). */
#ifndef COCOON_GUESTFS_CALL_FILTER_H
#define COCOON_GUESTFS_CALL_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The calls of one number whose argument, masked, is `value`; without a mask all of them. The first rule that
 * fits is the answer. */
struct call_rule {
	long number;	       /* SYS_… */
	unsigned int error;    /* that the call gets; 0: it is made */
	unsigned int argument; /* 0 … 5 */
	uint32_t mask, value;  /* of its lower half: where a flag or an id is */
};

enum { CALL_FILTER_SIZE = 512 }; /* instructions: up to six for a rule */

struct call_filter {
	size_t n;
	bool full;
	struct sock_filter program[CALL_FILTER_SIZE];
};

void call_filter_init(struct call_filter *f);
void call_filter_add(struct call_filter *f, const struct call_rule *rules, size_t n);

/* From now on what no rule names fails with EPERM, for this thread and those that it starts; it must have no
 * new privileges. A call of another architecture ends the process: such calls have other numbers, and nobody
 * makes them by mistake. 0; -ENOSYS in a kernel without seccomp; another negative errno. */
int call_filter_load(struct call_filter *f);

#endif
