/* SPDX-License-Identifier: Apache-2.0
 * An entry of the chunk table: number (LE32), then its 64 bytes, in an image of 100 chunks and three blobs.
 */
#include "proto/base/bytes.h"
#include "proto/format/chunk_table.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct descriptor image = {
		.n_chunks = 100, .n_blobs = 3, .n_meta_chunks = 3, .meta_offset = 16384};
	static const uint64_t blob_sizes[] = {1 << 20, UINT64_MAX, 16384 + 5000 + DESCRIPTOR_SIZE};
	uint8_t again[CHUNK_ENTRY_SIZE];
	struct chunk_entry c;
	struct err e;

	if (size != 4 + CHUNK_ENTRY_SIZE)
		return 0;
	if (chunk_entry_decode(&c, get_le32(data), data + 4, &image, blob_sizes, &e) < 0)
		return 0;
	fuzz_assert(c.offset + c.stored_size <= blob_sizes[c.blob]);
	chunk_entry_encode(&c, again);
	fuzz_assert(memcmp(again, data + 4, CHUNK_ENTRY_SIZE) == 0);
	return 0;
}
