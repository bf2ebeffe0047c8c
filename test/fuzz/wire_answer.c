/* SPDX-License-Identifier: Apache-2.0
 * An answer as a guest reads it: a frame's header, then its payload. What decodes encodes to the same bytes,
 * but the words of a failure, which are made printable: those decode to the same words again. */
#include "proto/wire/wire.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

static void failure(const uint8_t *p, size_t n)
{
	cleanup_buf struct buf again = {.max = WIRE_MAX_PAYLOAD};
	struct wire_failure f, g;
	struct err e;

	if (wire_failure_decode(&f, p, n, &e) < 0)
		return;
	fuzz_assert(strlen(f.words) == n - 4);
	wire_failure_encode(&again, f.chunk, f.words);
	fuzz_assert(wire_failure_decode(&g, again.data, again.size, &e) == 0);
	fuzz_assert(g.chunk == f.chunk && strcmp(g.words, f.words) == 0);
}

static void answer(enum wire_type type, const uint8_t *p, size_t n)
{
	cleanup_buf struct buf again = {.max = WIRE_MAX_PAYLOAD};
	struct wire_opened opened;
	const uint8_t *stored;
	uint32_t number;
	size_t stored_size;
	struct err e;

	switch (type) {
	case WIRE_HELLO:
		if (wire_welcome_decode(&number, p, n, &e) < 0)
			return;
		wire_welcome_encode(&again, number);
		break;
	case WIRE_OPEN:
		if (wire_opened_decode(&opened, p, n, &e) < 0)
			return;
		wire_opened_encode(&again, &opened);
		break;
	case WIRE_INDEX:
		return; /* bytes as they are */
	case WIRE_CHUNKS:
		if (wire_chunk_decode(&number, &stored, &stored_size, p, n, &e) < 0)
			return;
		buf_le32(&again, number);
		buf_put(&again, stored, stored_size);
		break;
	}
	fuzz_assert(again.size == n && memcmp(again.data, p, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header h;
	struct err e;

	if (size < WIRE_HEADER_SIZE || wire_header_decode(&h, data, false, &e) < 0)
		return 0;
	wire_header_encode(&h, raw);
	fuzz_assert(memcmp(raw, data, sizeof(raw)) == 0);
	if (h.status != WIRE_OK)
		failure(data + WIRE_HEADER_SIZE, size - WIRE_HEADER_SIZE);
	else
		answer(h.type, data + WIRE_HEADER_SIZE, size - WIRE_HEADER_SIZE);
	return 0;
}
