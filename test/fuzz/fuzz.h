/* SPDX-License-Identifier: Apache-2.0
 * What every fuzz target has: the function that libFuzzer and replay.c call, and an assertion that always
 * counts. */
#ifndef COCOON_TEST_FUZZ_FUZZ_H
#define COCOON_TEST_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_assert(condition)                                                                               \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#endif
