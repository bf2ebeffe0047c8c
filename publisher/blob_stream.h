/* SPDX-License-Identifier: Apache-2.0
 * The bytes of one blob of a source image, as they are stored (perhaps compressed), pulled from a file or
 * from a registry. Who reads checks size and digest: publisher/layer_reader.h does. One thread. */
#ifndef COCOON_PUBLISHER_BLOB_STREAM_H
#define COCOON_PUBLISHER_BLOB_STREAM_H

#include "chunkstore/registry.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"

#include <stddef.h>

struct blob_stream;

/* From an open file, which is taken, also on failure. */
int blob_stream_file(struct blob_stream **out, int fd, struct err *e);
/* From a registry; `client` and `where` are borrowed until close. The transfer runs on a thread of its own.
 */
int blob_stream_registry(struct blob_stream **out, struct registry_client *client,
			 const struct reference *where, const struct oci_blob *blob, struct err *e);

/* The next bytes, at most `room`: *n of them, 0 at the end. Errors of reading and of the network. `stream` is
 * a struct blob_stream: the signature is layer_source's. */
int blob_stream_read(void *stream, void *to, size_t room, size_t *n, struct err *e);
void blob_stream_close(struct blob_stream *s); /* NULL is fine; may be early */

#endif
