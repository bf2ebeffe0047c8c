/* SPDX-License-Identifier: Apache-2.0
 * Encoding and checking chunk table entries. */
#include "proto/format/chunk_table.h"
#include "proto/base/bytes.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

int chunk_entry_decode(struct chunk_entry *out, uint32_t number, const uint8_t raw[static CHUNK_ENTRY_SIZE],
		       const struct descriptor *d, const uint64_t *blob_sizes, struct err *e)
{
	struct bytes b = bytes_of(raw, CHUNK_ENTRY_SIZE);
	struct chunk_entry c;
	uint64_t from = 0, to, end;

	bytes_copy(&b, c.id.bytes, DIGEST_SIZE);
	c.offset = bytes_le64(&b);
	c.stored_size = bytes_le32(&b);
	c.blob = bytes_le32(&b);
	bytes_zero(&b, 16);

	if (c.stored_size < MIN_STORED_SIZE || c.stored_size > MAX_STORED_SIZE)
		return err_set(e, -EUCLEAN, "chunk %u [T1]: stored size %u", number, c.stored_size);
	if (c.blob >= d->n_blobs || (c.blob == d->n_blobs - 1) != (number < d->n_meta_chunks))
		return err_set(e, -EUCLEAN, "chunk %u [T2]: in blob %u of %u", number, c.blob, d->n_blobs);
	if (!bytes_end(&b))
		return err_set(e, -EUCLEAN, "chunk %u [T3]: reserved bytes are not zero", number);
	to = blob_sizes[c.blob];
	if (c.blob == d->n_blobs - 1) {
		from = d->meta_offset;
		to = to < DESCRIPTOR_SIZE ? 0 : to - DESCRIPTOR_SIZE;
	}
	if (__builtin_add_overflow(c.offset, c.stored_size, &end) || c.offset < from || end > to)
		return err_set(e, -EUCLEAN, "chunk %u [T4]: %u bytes at %llu are outside blob %u", number,
			       c.stored_size, (unsigned long long)c.offset, c.blob);
	*out = c;
	return 0;
}

void chunk_entry_encode(const struct chunk_entry *c, uint8_t raw[static CHUNK_ENTRY_SIZE])
{
	memset(raw, 0, CHUNK_ENTRY_SIZE);
	memcpy(raw, c->id.bytes, DIGEST_SIZE);
	put_le64(raw + 32, c->offset);
	put_le32(raw + 40, c->stored_size);
	put_le32(raw + 44, c->blob);
}
