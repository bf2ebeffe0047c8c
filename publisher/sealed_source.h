/* SPDX-License-Identifier: Apache-2.0
 * A `struct source` (guestfs/source.h) over a sealed image in an OCI layout or a registry, so that verify,
 * export and inspect see an image with the guest's own eyes. */
#ifndef COCOON_PUBLISHER_SEALED_SOURCE_H
#define COCOON_PUBLISHER_SEALED_SOURCE_H

#include "guestfs/source.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/remote.h"

/* -ENOENT no such image; -ENOTSUP an image that is not sealed. source->ops->close() releases it. */
int sealed_source_open(struct source **out, const struct reference *ref, const struct oci_platform *platform,
		       const struct remote *remote, struct err *e);

#endif
