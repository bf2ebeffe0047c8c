/* SPDX-License-Identifier: Apache-2.0
 * A map page: its first block and the block behind its last (LE32 each), then its plaintext. */
#include "proto/format/root.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct descriptor image = {
		.image_size = (1ull << 44) - 4096, .n_chunks = 50, .max_chunk_size = 65536};
	cleanup_buf struct buf again = {.max = 2 << 20};
	struct extent *x;
	struct err e;
	size_t n;

	if (size < 8)
		return 0;
	if (map_page_decode(&x, &n, data + 8, size - 8, get_le32(data), get_le32(data + 4), &image, &e) < 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		extent_encode(&x[i], &again);
	fuzz_assert(again.size == size - 8 && memcmp(again.data, data + 8, again.size) == 0);
	free(x);
	return 0;
}
