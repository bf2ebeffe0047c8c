/* SPDX-License-Identifier: Apache-2.0
 * Bad luck on order: the Nth call that our code makes to a function outside it (OpenSSL, malloc, ...; fault.c
 * has the list) fails once, as its manual says it may. Calls that libraries make among themselves go through.
 */
#ifndef COCOON_TEST_UNIT_FAULT_H
#define COCOON_TEST_UNIT_FAULT_H

#include <stdbool.h>

/* The nth listed call from now on, of any thread, fails; 0: none. */
void fault_arm(unsigned nth);
/* Whether it did; disarms. */
bool fault_fired(void);
/* The function that failed last. */
const char *fault_name(void);

/* Run `operation` again and again, each time with the next call failing, and after each look at its result:
 *	each_fault (r, sha256(&d, "abc", 3))
 *		cr_assert_lt(r, 0, "%s", fault_name());
 *	cr_assert_eq(r, 0);
 * The last run, in which nothing failed, is not looked at and leaves its result in r. */
#define each_fault(r, operation)                                                                             \
	for (unsigned fault_n = 1; fault_arm(fault_n), (r) = (operation), fault_fired(); fault_n++)

#endif
