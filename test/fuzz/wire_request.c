/* SPDX-License-Identifier: Apache-2.0
 * A request as a host reads it: a frame's header, then its payload. What decodes encodes to the same bytes.
 */
#include "proto/wire/wire.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

/* Encode what `type` decoded to; false when it was refused. */
static bool round_trip(struct buf *to, enum wire_type type, const uint8_t *p, size_t n)
{
	const char *reference;
	struct wire_chunks chunks;
	struct wire_index index;
	size_t length;
	struct err e;

	switch (type) {
	case WIRE_HELLO:
		if (wire_hello_decode(p, n, &e) < 0)
			return false;
		wire_hello_encode(to);
		return true;
	case WIRE_OPEN:
		if (wire_open_decode(&reference, &length, p, n, &e) < 0)
			return false;
		wire_open_encode(to, reference, length);
		return true;
	case WIRE_INDEX:
		if (wire_index_decode(&index, p, n, &e) < 0)
			return false;
		wire_index_encode(to, &index);
		return true;
	case WIRE_CHUNKS:
		if (wire_chunks_decode(&chunks, p, n, &e) < 0)
			return false;
		wire_chunks_encode(to, &chunks);
		return true;
	}
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_buf struct buf again = {.max = WIRE_MAX_PAYLOAD};
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header h;
	struct err e;

	if (size < WIRE_HEADER_SIZE || wire_header_decode(&h, data, true, &e) < 0)
		return 0;
	wire_header_encode(&h, raw);
	fuzz_assert(memcmp(raw, data, sizeof(raw)) == 0);
	data += WIRE_HEADER_SIZE;
	size -= WIRE_HEADER_SIZE;
	if (round_trip(&again, h.type, data, size))
		fuzz_assert(again.size == size && memcmp(again.data, data, size) == 0);
	return 0;
}
