/* SPDX-License-Identifier: Apache-2.0
 * One count for each thread: who calls a library waits for it, so what failed meanwhile was its own. */
#include "proto/base/memory.h"

#include <stddef.h>

static _Thread_local unsigned int shortages;

void *memory_note(void *p)
{
	if (!p)
		shortages++;
	return p;
}

unsigned int memory_shortages(void)
{
	return shortages;
}
