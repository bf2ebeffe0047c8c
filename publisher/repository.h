/* SPDX-License-Identifier: Apache-2.0
 * Where images lie: a repository of a registry, or an OCI layout (image-spec, image-layout.md). Finds a
 * manifest by name and platform and gives its blobs. After repository_open() any thread. */
#ifndef COCOON_PUBLISHER_REPOSITORY_H
#define COCOON_PUBLISHER_REPOSITORY_H

#include "chunkstore/registry.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/blob_stream.h"
#include "publisher/remote.h"

#include <stddef.h>
#include <stdint.h>

struct repository;

/* For a layout its two files are checked here: -ENOENT when there is none, -EUCLEAN when it is broken. */
int repository_open(struct repository **out, const struct reference *ref, const struct remote *remote,
		    struct err *e);
void repository_close(struct repository *r); /* NULL is fine */

/* The client, for a registry; NULL for a layout. */
struct registry_client *repository_registry(const struct repository *r);

/* The manifest that the reference names; where it names an index, the entry for `platform` (one level, as
 * registries have it; in a layout one level below index.json). `json` (born with its largest size) gets its
 * bytes, checked against *digest. oci_manifest_deinit() the manifest. -ENOENT: no such name or platform. */
int repository_manifest(struct repository *r, const struct oci_platform *platform, struct buf *json,
			struct digest *digest, struct oci_manifest *out, struct err *e);

/* A whole blob, appended to `to`; size and digest are checked. */
int repository_read(struct repository *r, const struct oci_blob *blob, struct buf *to, struct err *e);
/* Exactly n (> 0) bytes at `offset`; their content is not checked. */
int repository_pread(struct repository *r, const struct oci_blob *blob, void *to, size_t n, uint64_t offset,
		     struct err *e);
/* The blob's bytes, unchecked; the stream must be closed before the repository. */
int repository_stream(struct repository *r, const struct oci_blob *blob, struct blob_stream **out,
		      struct err *e);

/* The layout's own files, for whoever writes one: 0, or -EUCLEAN with words for another version or no JSON.
 */
int layout_file_check(const void *json, size_t size, struct err *e);
#define LAYOUT_FILE "oci-layout"
#define LAYOUT_INDEX "index.json"
#define LAYOUT_CONTENT "{\"imageLayoutVersion\":\"1.0.0\"}"
#define LAYOUT_BLOB_PATH_SIZE (sizeof("blobs/sha256/") + 64)
const char *layout_blob_path(const struct digest *d, char path[static LAYOUT_BLOB_PATH_SIZE]);

#endif
