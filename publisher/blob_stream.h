/* SPDX-License-Identifier: Apache-2.0
 * The bytes of one blob of a source image, as they are stored (perhaps compressed), from a layout or a registry. Size
 * and digest are checked against the blob's descriptor on the way; the check is complete when read says "end". */
#ifndef COCOON_PUBLISHER_BLOB_STREAM_H
#define COCOON_PUBLISHER_BLOB_STREAM_H

#include "proto/base/err.h"

#include <stddef.h>

struct blob_stream;

/* The next bytes, at most n: *got of them, 0 at the end. -EBADMSG when size or digest are not the promised ones;
 * errors of reading and of the network. */
int blob_stream_read(struct blob_stream *s, void *to, size_t n, size_t *got, struct err *e);
void blob_stream_close(struct blob_stream *s); /* NULL is fine */

#endif
