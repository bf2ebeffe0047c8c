/* SPDX-License-Identifier: Apache-2.0
 * Encoding and checking the chunk header and the padding behind the payload. */
#include "proto/format/chunk_header.h"
#include "proto/base/bytes.h"

#include <errno.h>
#include <string.h>

int chunk_header_decode(struct chunk_header *out, const uint8_t *m, size_t m_size, uint32_t max_chunk_size,
			struct err *e)
{
	struct bytes b = bytes_of(m, m_size);
	struct chunk_header h;
	uint8_t codec = bytes_u8(&b);

	bytes_zero(&b, 3);
	h.payload_size = bytes_le32(&b);
	h.plain_size = bytes_le32(&b);
	bytes_zero(&b, 4);
	if (b.bad)
		return err_set(e, -EUCLEAN, "chunk header [C2]: short or reserved bytes are not zero");
	if (codec != CHUNK_CODEC_RAW && codec != CHUNK_CODEC_ZSTD)
		return err_set(e, -EUCLEAN, "chunk header [C1]: codec %u", codec);
	h.codec = (enum chunk_codec)codec;
	if (h.payload_size == 0 || h.payload_size > b.left ||
	    (h.codec == CHUNK_CODEC_RAW && h.payload_size != h.plain_size))
		return err_set(e, -EUCLEAN, "chunk header [C3]: payload of %u bytes in %zu", h.payload_size,
			       b.left);
	if (h.plain_size == 0 || h.plain_size > max_chunk_size)
		return err_set(e, -EUCLEAN, "chunk header [C4]: plaintext of %u bytes", h.plain_size);
	(void)bytes_take(&b, h.payload_size);
	bytes_zero(&b, b.left);
	if (!bytes_end(&b))
		return err_set(e, -EUCLEAN, "chunk header [C6]: padding is not zero");
	*out = h;
	return 0;
}

void chunk_header_encode(const struct chunk_header *h, uint8_t raw[static CHUNK_HEADER_SIZE])
{
	memset(raw, 0, CHUNK_HEADER_SIZE);
	raw[0] = (uint8_t)h->codec;
	put_le32(raw + 4, h->payload_size);
	put_le32(raw + 8, h->plain_size);
}
