/* SPDX-License-Identifier: Apache-2.0
 * Everything of the host that holds, fetches and serves sealed chunks, opened as one: registry client, cache,
 * known images, fetcher. It has no key and no code that could open a chunk. Any thread. */
#ifndef COCOON_CHUNKSTORE_CHUNKSTORE_H
#define COCOON_CHUNKSTORE_CHUNKSTORE_H

#include "chunkstore/chunk_cache.h"
#include "chunkstore/fetcher.h"
#include "chunkstore/image_store.h"
#include "chunkstore/registry.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdint.h>

struct chunkstore_config {
	const char *root;	   /* folder; chunks/ and images/ are made below it */
	uint64_t cache_max_bytes;  /* of chunks/; 0: no limit */
	uint64_t images_max_bytes; /* of images/; 0: 2 GiB */
	unsigned tag_fresh_ms;	   /* image_store.h */
	struct registry_options registry;
	struct fetcher_options fetcher;
};

struct chunkstore {
	struct registry_client *registry;
	struct chunk_cache *cache;
	struct image_store *images;
	struct fetcher *fetcher;
};

int chunkstore_open(struct chunkstore **out, const struct chunkstore_config *config, struct err *e);
/* Servers that use it have been stopped. NULL is fine. */
void chunkstore_close(struct chunkstore *s);

/* What a snapshotter needs to know of a sealed image: its layers, and the chain ID of each as OCI defines it.
 */
struct prepared_image {
	struct digest manifest, descriptor;
	uint32_t n_layers;
	struct digest layers[MAX_BLOBS];    /* also the diff IDs ([M3]) */
	struct digest chain_ids[MAX_BLOBS]; /* chain_ids[n_layers - 1] is the image's rootfs */
	uint64_t image_size;		    /* plaintext bytes */
};

/* Fetch and check what a host can of the image `reference`; when `manifest` is given, that manifest of the
 * reference's repository. 0; IMAGE_NOT_SEALED; errors of image_store_get(), -EINVAL for a bad reference. */
int chunkstore_prepare_image(struct chunkstore *s, const char *reference, const struct digest *manifest,
			     struct prepared_image *out, struct err *e);

#endif
