/* SPDX-License-Identifier: Apache-2.0
 * An opened chunk: header, payload, padding. */
#include "proto/format/chunk_header.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[CHUNK_HEADER_SIZE];
	struct chunk_header h;
	struct err e;

	if (chunk_header_decode(&h, data, size, 65536, &e) < 0)
		return 0;
	fuzz_assert(h.payload_size <= size - CHUNK_HEADER_SIZE && h.plain_size <= 65536);
	chunk_header_encode(&h, again);
	fuzz_assert(memcmp(again, data, CHUNK_HEADER_SIZE) == 0);
	return 0;
}
