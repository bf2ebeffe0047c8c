/* SPDX-License-Identifier: Apache-2.0
 * Where a sealed image goes: an OCI layout or a registry. Blobs wait in unnamed temporary files, which vanish
 * however the program ends; nothing is visible under the destination's name before destination_commit(). */
#ifndef COCOON_PUBLISHER_DESTINATION_H
#define COCOON_PUBLISHER_DESTINATION_H

#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/remote.h"

#include <stddef.h>

struct destination;

/* A layout's directory may be missing or must be a layout. `ref` needs a tag when it names a registry. */
int destination_open(struct destination **out, const struct reference *ref, const struct remote *remote,
		     struct err *e);
/* Another repository of the same registry that may hold some of the blobs already (borrowed). */
void destination_mount_from(struct destination *d, const char *repository);
void destination_close(struct destination *d); /* NULL is fine */

/* An unnamed temporary file, empty, read-write: the caller's to close, or to hand to destination_add(). */
int destination_temp(struct destination *d, int *fd, struct err *e);

/* The image has this blob, whose bytes are in `fd` (taken, also on failure). */
int destination_add(struct destination *d, const struct oci_blob *blob, int fd, struct err *e);

struct destination_stats {
	uint64_t blobs, bytes;		     /* of the image, each blob once, config included */
	uint64_t blobs_present, bytes_saved; /* were there, or were mounted from another repository */
};

/* Make the image appear: blobs first, then the manifest under the reference's name. `progress` may be NULL;
 * it is called from several threads, one at a time.
 * After a failure nothing new is left in a layout; a registry may keep blobs that no manifest names. */
int destination_commit(struct destination *d, const void *manifest, size_t size,
		       const struct oci_platform *platform,
		       void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
		       struct destination_stats *stats, struct err *e);

#endif
