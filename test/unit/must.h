/* SPDX-License-Identifier: Apache-2.0
 * For tests' own tools: what must hold, or there is nothing to test. Always counts, whatever NDEBUG says. */
#ifndef COCOON_TEST_UNIT_MUST_H
#define COCOON_TEST_UNIT_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define must(x)                                                                                              \
	do {                                                                                                 \
		if (!(x)) {                                                                                  \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                        \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#endif
