/* SPDX-License-Identifier: Apache-2.0
 * Is a source image's config what the image-spec (config.md) says, field by field? A guest will read the
 * sealed copy, so what cannot be understood is refused here, where somebody can still mend it. */
#ifndef COCOON_PUBLISHER_CONFIG_CHECK_H
#define COCOON_PUBLISHER_CONFIG_CHECK_H

#include "proto/base/err.h"

#include <stddef.h>

/* The media type of a config of an image, OCI's or Docker's. 0 or -ENOTSUP. */
int config_media_type_check(const char *media_type, struct err *e);

/* `json` was decoded by oci_config_decode() already. 0 or -EUCLEAN. */
int config_check(const void *json, size_t size, struct err *e);

#endif
