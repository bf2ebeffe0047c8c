/* SPDX-License-Identifier: Apache-2.0
 * Make a sealed image known to containerd, without fetching its layers: manifest and config become content,
 * each layer a snapshot that cocoon-snapshotter serves lazily, and the reference an image record, so that
 * `ctr run --snapshotter` starts it. */
#ifndef COCOON_PUBLISHER_PULL_H
#define COCOON_PUBLISHER_PULL_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/remote.h"

#include <stdint.h>

struct pull_options {
	const char *address;	 /* containerd's socket */
	const char *namespace;	 /* of containerd */
	const char *snapshotter; /* the name of the proxy plugin */
	struct remote remote;
	struct oci_platform platform;
	/* Told before each layer, and once at the end with done == total. May be NULL. */
	void (*progress)(void *arg, uint32_t done, uint32_t total);
	void *progress_arg;
};

struct pulled {
	char name[REFERENCE_TEXT_SIZE]; /* of the image record */
	struct digest manifest,
		chain; /* chain: of the topmost layer, the name of its snapshot in containerd */
	uint32_t n_layers;
};

/* -EUCLEAN, -ENOTSUP for an image that is not sealed or not valid; errors of the registry; errors of
 * containerd_client.h with the snapshotter's words. What was made is left to containerd's collector then. */
int pull(const struct pull_options *options, const struct reference *ref, struct pulled *out, struct err *e);

#endif
