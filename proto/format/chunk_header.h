/* SPDX-License-Identifier: Apache-2.0
 * The 16 bytes in front of a chunk's payload, inside the seal (FORMAT.md §6). */
#ifndef COCOON_FORMAT_CHUNK_HEADER_H
#define COCOON_FORMAT_CHUNK_HEADER_H

#include "proto/base/err.h"
#include "proto/format/format.h"

#include <stddef.h>
#include <stdint.h>

#define CHUNK_HEADER_SIZE 16u

enum chunk_codec { CHUNK_CODEC_RAW = 0, CHUNK_CODEC_ZSTD = 1 };

struct chunk_header {
	enum chunk_codec codec;
	uint32_t payload_size;
	uint32_t plain_size;
};

/* Check header and padding of the opened message m (m_size bytes). 0 or -EUCLEAN ([C1]…[C4], [C6]). */
int chunk_header_decode(struct chunk_header *out, const uint8_t *m, size_t m_size, uint32_t max_chunk_size,
			struct err *e);

void chunk_header_encode(const struct chunk_header *h, uint8_t raw[static CHUNK_HEADER_SIZE]);

#endif
