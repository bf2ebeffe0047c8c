/* SPDX-License-Identifier: Apache-2.0
 * The private options inside a wrapped key. */
#include "crypto/private_options.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct digest image = {{0x11, 0x22}};
	cleanup_buf struct buf text = {.max = 1 << 20, .secret = true};
	cleanup_buf struct buf again = {.max = PRIVATE_OPTIONS_MAX, .secret = true};
	struct secret key, same;
	struct err e;

	buf_put(&text, data, size);
	if (buf_failed(&text) || private_options_decode(&key, &text, &image, &e) < 0)
		return 0;
	private_options_encode(&again, &key, &image);
	fuzz_assert(!buf_failed(&again) && private_options_decode(&same, &again, &image, &e) == 0);
	fuzz_assert(secret_equal(&key, &same));
	return 0;
}
