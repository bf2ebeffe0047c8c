/* SPDX-License-Identifier: Apache-2.0
 * One image's folder: written from a registry, loaded and checked. Internal to the image store; any thread.
 */
#ifndef COCOON_CHUNKSTORE_STORED_IMAGE_H
#define COCOON_CHUNKSTORE_STORED_IMAGE_H

#include "chunkstore/image_store.h"

/* Load the folder `dir` of the image whose manifest has `digest`, with everything that a host can check
 * checked. 0 and one reference; -EBADMSG or -EUCLEAN when something in it is not what it should be. */
int stored_image_load(struct stored_image **out, int dir, const struct digest *digest, struct err *e);

/* Fill the empty folder `dir` with the image of that manifest, fetched from `where`. What arrives is bound to
 * the manifest's digests; the rest is checked by stored_image_load(). */
int stored_image_fetch(int dir, const struct buf *manifest, const struct oci_manifest *oci,
		       const struct reference *where, struct registry_client *registry,
		       struct chunk_cache *cache, struct err *e);

/* Bytes that the folder takes on disk, about. */
uint64_t stored_image_bytes(const struct stored_image *i);

#endif
