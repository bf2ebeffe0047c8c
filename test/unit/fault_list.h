/* SPDX-License-Identifier: Apache-2.0
 * How a function is put on a list of those that can be made to fail (fault.h), for the files that are such
 * lists.
 */
#ifndef COCOON_TEST_UNIT_FAULT_LIST_H
#define COCOON_TEST_UNIT_FAULT_LIST_H

#include "test/unit/fault.h"

/* A listed function is called: whether it is the one to fail. */
bool fault_now(const char *name);

/* FAULT(name, type, what it returns when it fails, parameters, arguments) */
#define FAULT(name, type, failure, parameters, arguments)                                                    \
	type __real_##name parameters;                                                                       \
	type __wrap_##name parameters;                                                                       \
	type __wrap_##name parameters                                                                        \
	{                                                                                                    \
		return fault_now(#name) ? (failure) : __real_##name arguments;                               \
	}

#endif
