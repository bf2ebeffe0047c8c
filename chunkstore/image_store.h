/* SPDX-License-Identifier: Apache-2.0
 * The sealed images this host knows: manifest, config, descriptor and the public part of the index, on disk
 * under DIR/<manifest digest>, so that a restart needs no registry. What a host can check is checked before
 * an image is shown to anyone: manifest and config digests, [M1]-[M3], descriptor, blobs digest, the hash
 * tree over the chunk table. Images that nobody has open are dropped, least recently used first, when the
 * folder grows over its limit. Any thread. */
#ifndef COCOON_CHUNKSTORE_IMAGE_STORE_H
#define COCOON_CHUNKSTORE_IMAGE_STORE_H

#include "chunkstore/chunk_cache.h"
#include "chunkstore/registry.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/format/chunk_table.h"
#include "proto/format/descriptor.h"
#include "proto/oci/manifest.h"

#include <stdatomic.h>
#include <stdint.h>

#define IMAGE_MAX_PUBLIC (128u << 20) /* table and tree that a host takes: some two million chunks */

/* Immutable while referenced. */
struct stored_image {
	struct digest digest; /* of the manifest */
	struct buf manifest;  /* as the registry has it */
	struct oci_manifest oci;
	struct oci_config config;
	uint8_t descriptor_raw[DESCRIPTOR_SIZE];
	struct descriptor descriptor;
	uint64_t blob_sizes[MAX_BLOBS];
	int index_fd;	  /* the public part of the index: descriptor.meta_offset bytes */
	atomic_uint refs; /* the store's own */
};

struct image_store;

struct image_store_options {
	const char *dir;
	uint64_t max_bytes;    /* 0: 2 GiB */
	unsigned tag_fresh_ms; /* how long a resolved tag is believed without asking again; 0: 30,000 */
};

enum image_answer { IMAGE_NOT_SEALED = 1 };

/* `registry` and `cache` are borrowed and live longer; metadata chunks that come along with an index are kept
 * in the cache. -EBUSY when another process has the folder. */
int image_store_open(struct image_store **out, const struct image_store_options *options,
		     struct registry_client *registry, struct chunk_cache *cache, struct err *e);
void image_store_close(struct image_store *s); /* all images were put back. NULL is fine */

/* The image that `ref` names. By digest: from disk, or fetched once. By tag: the registry is asked which
 * digest that is now; while it does not answer, the last one known counts. Of an index the manifest for this
 * machine is taken. 0 and a reference to image_put(); IMAGE_NOT_SEALED for an ordinary image; the registry's
 * errors; -EUCLEAN, -EBADMSG, -ENOTSUP for a broken or unknown image. Many callers for one reference share
 * one fetch. */
int image_store_get(struct image_store *s, const struct reference *ref, struct stored_image **out,
		    struct err *e);
void image_put(struct stored_image *i); /* NULL is fine */

/* Table entry `number`. 0; -ENOENT past the end; -EUCLEAN ([T1]-[T4]); errors of reading. */
int image_chunk(const struct stored_image *i, uint32_t number, struct chunk_entry *out, struct err *e);

struct image_store_stats {
	uint64_t images, bytes;
};
void image_store_stats(struct image_store *s, struct image_store_stats *out);

#endif
