/* SPDX-License-Identifier: Apache-2.0
 * The gear hash (Xia et al., "FastCDC", 2016) with a keyed table. It forgets after 64 bytes, so the tail of a
 * block is all it needs. */
#include "publisher/cutter.h"
#include "crypto/kdf.h"

#include <string.h>

#define BLOCK_BITS 5	  /* one block of 32 */
#define SMALL_FILE_BITS 2 /* one small file of 4 */

int cutter_init(struct cutter *c, const struct secret *prk_domain)
{
	return kdf_cut_table(c->gear, prk_domain);
}

void cutter_deinit(struct cutter *c)
{
	explicit_bzero(c->gear, sizeof(c->gear));
}

static bool has_zero_bits(const struct cutter *c, const uint8_t *tail, size_t n, unsigned bits)
{
	uint64_t h = 0;

	for (size_t i = n > 64 ? n - 64 : 0; i < n; i++)
		h = (h << 1) + c->gear[tail[i]];
	return h >> (64 - bits) == 0;
}

bool cut_after_block(const struct cutter *c, const uint8_t *tail, size_t n, size_t chunk_size)
{
	return chunk_size >= CUT_MAX || (chunk_size >= CUT_MIN && has_zero_bits(c, tail, n, BLOCK_BITS));
}

bool cut_after_small_file(const struct cutter *c, const uint8_t *tail, size_t n, size_t chunk_size)
{
	return chunk_size >= CUT_MAX || (chunk_size >= CUT_MIN && has_zero_bits(c, tail, n, SMALL_FILE_BITS));
}
