/* SPDX-License-Identifier: Apache-2.0
 * Is the layer that containerd asks for part of a sealed image? The labels of Prepare say which image and
 * which layer; they come from whoever pulls, and count for nothing until the image itself, as the registry
 * has it, says the same. Any thread.
 *
 * A sealed layer's snapshot is named "sealed/<chain ID>/<registry/repository@manifest digest>": the name
 * alone is enough to make the snapshot again when the state was lost. */
#ifndef COCOON_SNAPSHOTTER_SEALED_H
#define COCOON_SNAPSHOTTER_SEALED_H

#include "chunkstore/chunkstore.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "snapshotter/labels.h"

#include <stdint.h>

#define LABEL_REF "containerd.io/snapshot.ref" /* chain ID of the layer that is wanted */
#define LABEL_IMAGE_REF "containerd.io/snapshot/cri.image-ref"
#define LABEL_MANIFEST_DIGEST "containerd.io/snapshot/cri.manifest-digest"
#define LABEL_LAYER_DIGEST "containerd.io/snapshot/cri.layer-digest"
/* Whoever sets this knows that the image is sealed: there is no ordinary snapshot to fall back to, so
 * failures are told. */
#define LABEL_SEALED "containerd.io/snapshot/cocoon.sealed"

#define SEALED_NAME_SIZE (sizeof("sealed/") + DIGEST_TEXT_SIZE + REFERENCE_TEXT_SIZE)

struct sealed_layer {
	char reference[REFERENCE_TEXT_SIZE]; /* registry/repository@manifest digest */
	uint32_t layer;			     /* which one, of image.n_layers */
	struct prepared_image image;
};

enum sealed_answer { SEALED_NO = 1 };

struct sealed_finder;

/* `store` is borrowed and lives longer. */
int sealed_finder_new(struct sealed_finder **out, struct chunkstore *store);
void sealed_finder_free(struct sealed_finder *f); /* NULL is fine */

/* 0; SEALED_NO when the labels do not name a layer of a sealed image, or that cannot be told now; with
 * LABEL_SEALED errors of chunkstore_prepare_image() instead, and -EINVAL when the image is not what the
 * labels say. Logs what it decides. */
int sealed_find(struct sealed_finder *f, const struct labels *labels, struct sealed_layer *out,
		struct err *e);

/* The layer that a snapshot's name stands for. 0; SEALED_NO when it is no such name; errors of
 * chunkstore_prepare_image(). */
int sealed_find_by_name(struct sealed_finder *f, const char *name, struct sealed_layer *out, struct err *e);

/* The name of layer `layer` of the image. Returns `name`. */
const char *sealed_name(const struct sealed_layer *s, uint32_t layer, char name[static SEALED_NAME_SIZE]);

#endif
