/* SPDX-License-Identifier: Apache-2.0
 * Putting a complete image into an OCI layout (image-spec, image-layout.md), new or existing: blobs first,
 * index.json last and at once. A failure takes back what was put there; signals wait until it is over. */
#ifndef COCOON_PUBLISHER_LAYOUT_WRITER_H
#define COCOON_PUBLISHER_LAYOUT_WRITER_H

#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "publisher/destination.h"

#include <stddef.h>

struct waiting_blob { /* its bytes are in an unnamed file */
	struct oci_blob blob;
	int fd;
};

/* 0 when a layout can be written to `path`: it is one, or is empty, or is not there but its parent is.
 * *temp_dir gets a directory of the same file system. */
int layout_prepare(const char *path, char temp_dir[static 4096], struct err *e);

/* An image of the same name is replaced. */
int layout_write(const char *path, const char *tag, const struct waiting_blob *blobs, size_t n,
		 const void *manifest, size_t size, const struct oci_platform *platform,
		 struct destination_stats *stats, struct err *e);

#endif
