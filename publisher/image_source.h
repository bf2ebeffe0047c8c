/* SPDX-License-Identifier: Apache-2.0
 * An image to convert: found in a registry or an OCI layout, one platform chosen, manifest and config read
 * and checked against each other; Docker and OCI media types. */
#ifndef COCOON_PUBLISHER_IMAGE_SOURCE_H
#define COCOON_PUBLISHER_IMAGE_SOURCE_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/blob_stream.h"
#include "publisher/remote.h"

#include <stdint.h>

struct image_source;

/* `remote` says how registries are spoken to (borrowed). -ENOENT no such image or platform; -EUCLEAN,
 * -ENOTSUP, -EBADMSG not a valid image. */
int image_source_open(struct image_source **out, const struct reference *ref,
		      const struct oci_platform *platform, const struct remote *remote, struct err *e);
void image_source_close(struct image_source *s); /* NULL is fine */

const struct oci_manifest *image_source_manifest(const struct image_source *s); /* an OCI_MANIFEST */
const struct digest *image_source_digest(const struct image_source *s);		/* of the manifest */
const struct oci_config *image_source_config(const struct image_source *s);
const struct buf *image_source_config_json(const struct image_source *s);

/* Layer `i` of the manifest, as stored. */
int image_source_layer(struct image_source *s, uint32_t i, struct blob_stream **out, struct err *e);

#endif
