/* SPDX-License-Identifier: Apache-2.0
 * Sealed images made of noise: everything a host looks at is right, and nobody can open them. Free of
 * criterion, because a fuzz target uses them too. */
#ifndef COCOON_TEST_FAKE_IMAGE_H
#define COCOON_TEST_FAKE_IMAGE_H

#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/format/chunk_table.h"
#include "proto/format/descriptor.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_MAX_CHUNKS 4096

struct fake_image {
	/* what to make */
	uint32_t n_chunks, n_meta, chunk_size; /* chunk_size: of data chunks */
	unsigned seed;
	uint32_t meta_size; /* of each metadata chunk; 0: 100 */
	/* what was made */
	uint8_t *data, *index; /* blobs */
	size_t data_size, index_size;
	struct digest data_digest, index_digest, config_digest, manifest_digest, descriptor_digest;
	struct chunk_entry entries[FAKE_MAX_CHUNKS];
	char manifest[4096], config[1024];
	/* what to spoil */
	struct descriptor descriptor;
	bool no_note; /* of the descriptor's digest in the manifest */
	void (*spoil_index)(struct fake_image *i);
	const char *spoil_config; /* a diff_id instead of the first */
};

static inline void fake_noise(uint8_t *p, size_t n, unsigned seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 32);
	}
}

static inline void fake_image_blobs(struct fake_image *i)
{
	uint32_t meta = i->meta_size ? i->meta_size : 100;
	uint64_t at = meta_offset_of(i->n_chunks);
	size_t gap = 10; /* data chunks need not touch */

	i->data_size = (size_t)(i->n_chunks - i->n_meta) * (i->chunk_size + gap);
	i->index_size = (size_t)at + (size_t)i->n_meta * meta + DESCRIPTOR_SIZE;
	i->data = malloc(i->data_size + 1);
	i->index = calloc(1, i->index_size);
	fake_noise(i->data, i->data_size, i->seed);
	fake_noise(i->index + at, (size_t)i->n_meta * meta, i->seed + 1);
	for (uint32_t k = 0; k < i->n_chunks; k++) {
		struct chunk_entry *c = &i->entries[k];

		if (k < i->n_meta)
			*c = (struct chunk_entry){
				.blob = 1, .offset = at + (uint64_t)k * meta, .stored_size = meta};
		else
			*c = (struct chunk_entry){.offset = (uint64_t)(k - i->n_meta) * (i->chunk_size + gap),
						  .stored_size = i->chunk_size};
		(void)sha256(&c->id, (c->blob ? i->index : i->data) + c->offset, c->stored_size);
		chunk_entry_encode(c, i->index + (size_t)k * CHUNK_ENTRY_SIZE);
	}
}

static inline void fake_image_index(struct fake_image *i)
{
	uint64_t table = chunk_table_size(i->n_chunks);
	struct merkle_shape shape;

	(void)sha256(&i->data_digest, i->data, i->data_size);
	i->descriptor = (struct descriptor){.image_size = 4096,
					    .n_chunks = i->n_chunks,
					    .n_blobs = 2,
					    .max_chunk_size = 1 << 20,
					    .n_meta_chunks = i->n_meta,
					    .meta_offset = meta_offset_of(i->n_chunks)};
	fake_noise(i->descriptor.salt, 32, i->seed + 2);
	(void)sha256(&i->descriptor.blobs_digest, i->data_digest.bytes, DIGEST_SIZE);
	if (merkle_shape_init(&shape, table / BLOCK_SIZE) < 0 ||
	    verity_superblock_encode(i->index + table, shape.n_data, i->descriptor.salt) < 0 ||
	    merkle_build(&shape, i->index, i->index + table + BLOCK_SIZE, i->descriptor.salt,
			 &i->descriptor.root_hash) < 0)
		abort();
	if (i->spoil_index)
		i->spoil_index(i);
	descriptor_encode(&i->descriptor, i->index + i->index_size - DESCRIPTOR_SIZE);
	(void)sha256(&i->descriptor_digest, i->index + i->index_size - DESCRIPTOR_SIZE, DESCRIPTOR_SIZE);
	(void)sha256(&i->index_digest, i->index, i->index_size);
}

static inline void fake_image_make(struct fake_image *i)
{
	fake_image_blobs(i);
	fake_image_index(i);
}

/* Config and manifest; after fake_image_make(). */
static inline void fake_image_documents(struct fake_image *i)
{
	char data[DIGEST_TEXT_SIZE], index[DIGEST_TEXT_SIZE], config[DIGEST_TEXT_SIZE],
		note[DIGEST_TEXT_SIZE], annotation[256] = "";

	(void)digest_text(&i->data_digest, data);
	(void)digest_text(&i->index_digest, index);
	(void)snprintf(
		i->config, sizeof(i->config),
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
		"[\"%s\",\"%s\"]}}",
		i->spoil_config ? i->spoil_config : data, index);
	(void)sha256(&i->config_digest, i->config, strlen(i->config));
	if (!i->no_note)
		(void)snprintf(annotation, sizeof(annotation),
			       ",\"annotations\":{\"dev.cocoon.descriptor\":\"%s\"}",
			       digest_text(&i->descriptor_digest, note));
	(void)snprintf(
		i->manifest, sizeof(i->manifest),
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\","
		"\"size\":%zu},"
		"\"layers\":[{\"mediaType\":\"" MEDIA_TYPE_LAYER "\",\"digest\":\"%s\",\"size\":%zu},"
		"{\"mediaType\":\"" MEDIA_TYPE_INDEX "\",\"digest\":\"%s\",\"size\":%zu%s}]}",
		digest_text(&i->config_digest, config), strlen(i->config), data, i->data_size, index,
		i->index_size, annotation);
	(void)sha256(&i->manifest_digest, i->manifest, strlen(i->manifest));
}

static inline void fake_image_free(struct fake_image *i)
{
	free(i->data);
	free(i->index);
}

static inline const uint8_t *fake_chunk(const struct fake_image *i, uint32_t number)
{
	return (i->entries[number].blob ? i->index : i->data) + i->entries[number].offset;
}

#endif
