/* SPDX-License-Identifier: Apache-2.0
 * The root chunk's plaintext in an image of 64 blocks and 50 chunks. */
#include "proto/format/root.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct descriptor image = {.image_size = 64 * 4096,
						.n_chunks = 50,
						.max_chunk_size = 65536,
						.n_blobs = 2,
						.n_meta_chunks = 6};
	cleanup_buf struct buf again = {.max = 2 << 20};
	struct root r;
	struct err e;

	if (root_decode(&r, data, size, &image, &e) < 0)
		return 0;
	root_encode(&r, &again);
	fuzz_assert(!buf_failed(&again) && again.size == size && memcmp(again.data, data, size) == 0);
	root_deinit(&r);
	return 0;
}
