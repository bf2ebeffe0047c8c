/* SPDX-License-Identifier: Apache-2.0
 * Key files of both kinds: what decodes encodes to the same text, up to the last newline. */
#include "crypto/keyfile.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const kinds[] = {KEYFILE_DOMAIN, KEYFILE_IMAGE};

	for (int i = 0; i < 2; i++) {
		cleanup_buf struct buf again = {.max = 256};
		struct secret s;
		struct err e;

		if (keyfile_decode(&s, (const char *)data, size, kinds[i], &e) < 0)
			continue;
		keyfile_encode(&again, &s, kinds[i]);
		fuzz_assert(again.size == size || again.size == size + 1);
		fuzz_assert(memcmp(again.data, data, size) == 0);
	}
	return 0;
}
