/* SPDX-License-Identifier: Apache-2.0
 * Compressed streams: the first byte is the kind, the second how large the pieces are. In pieces or at once
 * it is the same answer and the same bytes. */
#include "publisher/decompress.h"
#include "proto/base/bytes.h"
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <string.h>

#define MAX_OUT (1u << 20)

/* 0, 1 when the stream may not end there, or a negative errno; what came until then. */
static int run(enum compression kind, const uint8_t *p, size_t n, size_t piece, size_t room, struct buf *out)
{
	static uint8_t block[MAX_OUT];
	struct decompressor *d;
	int r = decompressor_new(&d, kind);
	bool ended;

	while (r == 0 && out->size < MAX_OUT) {
		size_t now = n < piece ? n : piece, left = now, made = 0;

		r = decompressor_step(d, &p, &left, block, room, &made, NULL);
		fuzz_assert(left <= now && made <= room);
		n -= now - left;
		buf_put(out, block, made);
		if (!made && !n)
			break;
	}
	ended = decompressor_at_end(d);
	decompressor_free(d);
	return r < 0 ? r : !ended;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {.max = 2 * MAX_OUT}, pieces = {.max = 2 * MAX_OUT};
	enum compression kind;
	size_t piece;
	int r;

	if (size < 2)
		return 0;
	kind = data[0] & 1 ? COMPRESSION_ZSTD : COMPRESSION_GZIP;
	piece = data[1] + 1u;
	r = run(kind, data + 2, size - 2, size, MAX_OUT, &whole);
	if (whole.size < MAX_OUT) {
		fuzz_assert(r == run(kind, data + 2, size - 2, piece, 4096, &pieces));
		if (r == 0)
			fuzz_assert(whole.size == pieces.size &&
				    (!whole.size || !memcmp(whole.data, pieces.data, whole.size)));
	}
	buf_deinit(&whole);
	buf_deinit(&pieces);
	return 0;
}
