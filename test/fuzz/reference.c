/* SPDX-License-Identifier: Apache-2.0
 * Image names: the text of what was read reads as the same again. */
#include "proto/oci/reference.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[REFERENCE_TEXT_SIZE], again[REFERENCE_TEXT_SIZE];
	struct reference r, s;
	struct err e;
	char *name = malloc(size + 1);

	fuzz_assert(name != NULL);
	if (size)
		memcpy(name, data, size);
	name[size] = '\0';
	if (reference_parse(&r, name, &e) == 0) {
		(void)reference_text(&r, text);
		fuzz_assert(reference_parse(&s, text, &e) == 0);
		fuzz_assert(strcmp(reference_text(&s, again), text) == 0);
	}
	free(name);
	return 0;
}
