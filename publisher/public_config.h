/* SPDX-License-Identifier: Apache-2.0
 * The documents that everybody may read: the public config and the manifest of a sealed image (FORMAT.md §2).
 */
#ifndef COCOON_PUBLISHER_PUBLIC_CONFIG_H
#define COCOON_PUBLISHER_PUBLIC_CONFIG_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "publisher/tree.h"

#include <stddef.h>

/* A set of fields of the source's config that become public, beside those that always are. */
typedef unsigned public_fields;

/* "Env,Cmd,…" or "all". 0; -EINVAL with the names that there are. */
int public_fields_parse(public_fields *out, const char *text, struct err *e);

/* config.User as numbers, found in the image's own /etc/passwd and /etc/group: "" stays "". *out is
 * malloc'ed. -EUCLEAN when a name is not there: without it the container would run as root. */
int user_resolve(char **out, const char *user, struct tree *tree, struct err *e);

/* The public config of a sealed image whose layers, index last, have these digests. *out is malloc'ed JSON.
 */
int public_config_make(char **out, const void *source_json, size_t size, public_fields fields,
		       const char *user, const struct digest *layers, size_t n_layers, struct err *e);

struct manifest_parts {
	struct oci_blob config;
	const struct oci_blob *layers; /* data blobs, then the index */
	size_t n_layers;
	struct digest descriptor;
	const char *jwe, *provider; /* the wrapped keys, or NULL */
};

/* *out is malloc'ed JSON. */
int sealed_manifest_make(char **out, const struct manifest_parts *parts, struct err *e);

#endif
