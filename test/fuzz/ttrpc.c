/* SPDX-License-Identifier: Apache-2.0
 * A ttrpc message: its header, then a request or a response. What decodes says the same when it was encoded
 * and decoded again. */
#include "proto/ttrpc/ttrpc.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

static void same_bytes(const struct bytes *a, const struct bytes *b)
{
	fuzz_assert(a->left == b->left && (a->left == 0 || memcmp(a->at, b->at, a->left) == 0));
}

static void request(const uint8_t *p, size_t n)
{
	cleanup_buf struct buf again = {.max = 2 * TTRPC_MAX_DATA};
	struct ttrpc_request a, b;

	if (ttrpc_request_decode(&a, p, n, NULL) < 0)
		return;
	ttrpc_request_encode(&again, &a);
	fuzz_assert(ttrpc_request_decode(&b, again.data, again.size, NULL) == 0);
	fuzz_assert(strcmp(a.service, b.service) == 0 && strcmp(a.method, b.method) == 0);
	fuzz_assert(a.timeout_ns == b.timeout_ns);
	same_bytes(&a.payload, &b.payload);
}

static void response(const uint8_t *p, size_t n)
{
	cleanup_buf struct buf again = {.max = 2 * TTRPC_MAX_DATA};
	struct ttrpc_response a, b;

	if (ttrpc_response_decode(&a, p, n, NULL) < 0)
		return;
	ttrpc_response_encode(&again, &a);
	fuzz_assert(ttrpc_response_decode(&b, again.data, again.size, NULL) == 0);
	fuzz_assert(a.code == b.code && (a.code == TTRPC_OK || strcmp(a.words, b.words) == 0));
	same_bytes(&a.payload, &b.payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[TTRPC_HEADER_SIZE];
	struct ttrpc_header h;

	if (size < TTRPC_HEADER_SIZE || ttrpc_header_decode(&h, data, NULL) < 0)
		return 0;
	ttrpc_header_encode(&h, raw);
	fuzz_assert(memcmp(raw, data, sizeof(raw)) == 0);
	data += TTRPC_HEADER_SIZE;
	size -= TTRPC_HEADER_SIZE;
	if (h.type == TTRPC_REQUEST)
		request(data, size);
	else if (h.type == TTRPC_RESPONSE)
		response(data, size);
	return 0;
}
