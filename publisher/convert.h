/* SPDX-License-Identifier: Apache-2.0
 * A source image becomes a sealed image: layers read, merged and sealed, metadata written, keys wrapped,
 * everything put in its place at the end. */
#ifndef COCOON_PUBLISHER_CONVERT_H
#define COCOON_PUBLISHER_CONVERT_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/destination.h"
#include "publisher/index_writer.h"
#include "publisher/layer_reader.h"
#include "publisher/public_config.h"
#include "publisher/recipient.h"
#include "publisher/remote.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONVERT_MAX_RECIPIENTS 16

struct convert_options {
	struct reference from, to;
	struct remote remote;
	struct oci_platform platform;
	const char *domain_file;	/* NULL: a secret for this image alone */
	const char *image_key_file;	/* NULL: a key is made, for the recipients */
	const struct secret *image_key; /* instead of a file; borrowed. NULL: none */
	struct recipient recipients[CONVERT_MAX_RECIPIENTS];
	size_t n_recipients;
	const struct buf *startup; /* the start-up list (publisher/startup_list.h), borrowed; NULL: none */
	const char *mount_from;	   /* repository; NULL: none */
	struct seal_options seal;
	unsigned n_threads;
	public_fields public_fields;
	bool quiet; /* no progress bar */
};

struct convert_result {
	struct digest source, manifest; /* of the manifests */
	struct index_result index;
	struct destination_stats stored;
	struct layer_stats read; /* of all layers together */
	uint64_t source_bytes;	 /* of the layers as they were stored */
	uint64_t startup_bytes;	 /* of the blob that the start-up list has made */
	uint32_t n_layers;	 /* of the source */
	char user[32];		 /* the image's user in numbers: "", UID or UID:GID */
	uint64_t duration_ms;
};

/* 0, or a negative errno with words; then nothing is left under the destination's name. */
int convert(const struct convert_options *o, struct convert_result *out, struct err *e);

#endif
