/* SPDX-License-Identifier: Apache-2.0
 * The descriptor: what decodes encodes to the same bytes. */
#include "proto/format/descriptor.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[DESCRIPTOR_SIZE];
	struct descriptor d;
	struct err e;

	if (size != DESCRIPTOR_SIZE || descriptor_decode(&d, data, &e) < 0)
		return 0;
	descriptor_encode(&d, again);
	fuzz_assert(memcmp(again, data, DESCRIPTOR_SIZE) == 0);
	fuzz_assert(d.meta_offset > chunk_table_size(d.n_chunks));
	return 0;
}
