/* SPDX-License-Identifier: Apache-2.0
 * Headers with numbers: a range that is accepted has its ends in order. */
#include "chunkstore/http_headers.h"
#include "test/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct http_range r;
	uint64_t n;

	if (http_content_range_decode(&r, text, size) == 0)
		fuzz_assert(r.first <= r.last && (!r.has_total || r.last < r.total));
	(void)http_upload_range_decode(&n, text, size);
	(void)http_number_decode(&n, text, size);
	return 0;
}
