/* SPDX-License-Identifier: Apache-2.0
 * Encoding and checking the descriptor, and the sizes that follow from it. */
#include "proto/format/descriptor.h"
#include "proto/base/bytes.h"
#include "proto/format/chunk_table.h"

#include <errno.h>
#include <string.h>

#define DIGESTS_PER_BLOCK (BLOCK_SIZE / DIGEST_SIZE)
#define RESERVED_SIZE 80
#define MAX_IMAGE_SIZE ((1ull << 44) - BLOCK_SIZE) /* EROFS block addresses are 32 bits */
#define MAX_CHUNKS (1u << 30)

static const uint8_t magic[8] = {'C', 'O', 'C', 'O', 'O', 'N', 'D', '1'};

uint64_t chunk_table_size(uint32_t n_chunks)
{
	uint64_t per_block = BLOCK_SIZE / CHUNK_ENTRY_SIZE;

	return (n_chunks + per_block - 1) / per_block * BLOCK_SIZE;
}

uint64_t hash_tree_blocks(uint64_t n_blocks)
{
	uint64_t total = 0;

	while (n_blocks > 1) {
		n_blocks = (n_blocks + DIGESTS_PER_BLOCK - 1) / DIGESTS_PER_BLOCK;
		total += n_blocks;
	}
	return total;
}

uint64_t meta_offset_of(uint32_t n_chunks)
{
	uint64_t table = chunk_table_size(n_chunks);

	return table + BLOCK_SIZE + hash_tree_blocks(table / BLOCK_SIZE) * BLOCK_SIZE;
}

int descriptor_decode(struct descriptor *out, const uint8_t raw[static DESCRIPTOR_SIZE], struct err *e)
{
	struct bytes b = bytes_of(raw, DESCRIPTOR_SIZE);
	struct descriptor d;
	uint8_t m[sizeof(magic)];
	uint32_t version, suite;

	bytes_copy(&b, m, sizeof(m));
	version = bytes_le32(&b);
	suite = bytes_le32(&b);
	d.image_size = bytes_le64(&b);
	d.n_chunks = bytes_le32(&b);
	d.n_blobs = bytes_le32(&b);
	d.max_chunk_size = bytes_le32(&b);
	d.n_meta_chunks = bytes_le32(&b);
	d.meta_offset = bytes_le64(&b);
	bytes_copy(&b, d.salt, sizeof(d.salt));
	bytes_copy(&b, d.root_hash.bytes, DIGEST_SIZE);
	bytes_copy(&b, d.key_commitment, sizeof(d.key_commitment));
	bytes_copy(&b, d.blobs_digest.bytes, DIGEST_SIZE);

	if (memcmp(m, magic, sizeof(magic)) != 0)
		return err_set(e, -EUCLEAN, "descriptor [D1]: not a sealed image");
	if (version != FORMAT_VERSION)
		return err_set(e, -ENOTSUP, "descriptor [D2]: format version %u, this program reads 1",
			       version);
	if (suite != SUITE_AES256GCM_SHA256_ZSTD)
		return err_set(e, -ENOTSUP, "descriptor [D3]: unknown suite %u", suite);
	if (d.image_size == 0 || d.image_size % BLOCK_SIZE || d.image_size > MAX_IMAGE_SIZE)
		return err_set(e, -EUCLEAN, "descriptor [D4]: image size %llu",
			       (unsigned long long)d.image_size);
	if (d.n_chunks < 2 || d.n_chunks > MAX_CHUNKS)
		return err_set(e, -EUCLEAN, "descriptor [D5]: %u chunks", d.n_chunks);
	if (d.n_blobs < 2 || d.n_blobs > MAX_BLOBS)
		return err_set(e, -EUCLEAN, "descriptor [D6]: %u blobs", d.n_blobs);
	if (d.max_chunk_size < BLOCK_SIZE || d.max_chunk_size > MAX_CHUNK_SIZE ||
	    (d.max_chunk_size & (d.max_chunk_size - 1)))
		return err_set(e, -EUCLEAN, "descriptor [D7]: chunks of up to %u bytes", d.max_chunk_size);
	if (d.n_meta_chunks < 1 || d.n_meta_chunks > d.n_chunks)
		return err_set(e, -EUCLEAN, "descriptor [D8]: %u metadata chunks of %u", d.n_meta_chunks,
			       d.n_chunks);
	if (d.meta_offset != meta_offset_of(d.n_chunks))
		return err_set(e, -EUCLEAN, "descriptor [D9]: metadata at %llu",
			       (unsigned long long)d.meta_offset);
	bytes_zero(&b, RESERVED_SIZE);
	if (!bytes_end(&b))
		return err_set(e, -EUCLEAN, "descriptor [D11]: reserved bytes are not zero");
	*out = d;
	return 0;
}

void descriptor_encode(const struct descriptor *d, uint8_t raw[static DESCRIPTOR_SIZE])
{
	memset(raw, 0, DESCRIPTOR_SIZE);
	memcpy(raw, magic, sizeof(magic));
	put_le32(raw + 8, FORMAT_VERSION);
	put_le32(raw + 12, SUITE_AES256GCM_SHA256_ZSTD);
	put_le64(raw + 16, d->image_size);
	put_le32(raw + 24, d->n_chunks);
	put_le32(raw + 28, d->n_blobs);
	put_le32(raw + 32, d->max_chunk_size);
	put_le32(raw + 36, d->n_meta_chunks);
	put_le64(raw + 40, d->meta_offset);
	memcpy(raw + 48, d->salt, sizeof(d->salt));
	memcpy(raw + DESCRIPTOR_ROOT_HASH_OFFSET, d->root_hash.bytes, DIGEST_SIZE);
	memcpy(raw + 112, d->key_commitment, sizeof(d->key_commitment));
	memcpy(raw + 144, d->blobs_digest.bytes, DIGEST_SIZE);
}
