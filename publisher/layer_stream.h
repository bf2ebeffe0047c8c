/* SPDX-License-Identifier: Apache-2.0
 * The tar inside a layer's stored bytes: pulled, held against the manifest's size and digest, decompressed,
 * held against the diff ID, all on a thread of its own that works a bounded piece ahead of who pulls. Memory
 * is bounded whatever the stream expands to. Functions: one thread; the source's read() is called on the
 * other, and from layer_stream_check_stored() on. */
#ifndef COCOON_PUBLISHER_LAYER_STREAM_H
#define COCOON_PUBLISHER_LAYER_STREAM_H

#include "publisher/layer_reader.h"

#include <stddef.h>
#include <stdint.h>

struct layer_stream;

/* `source` is borrowed until the stream is freed. */
int layer_stream_new(struct layer_stream **out, const struct layer_source *source, struct err *e);
void layer_stream_free(struct layer_stream *s); /* NULL is fine */

/* The next n bytes of the tar, fewer only at its end: a tar_pull_fn. -EUCLEAN for a damaged stream. */
int layer_stream_pull(void *stream, void *buf, size_t n, size_t *got, struct err *e);

/* Pull what is left of the stored bytes and hold them against size and digest: -EBADMSG. Also after a failed
 * pull, to tell whether the layer was delivered badly or made badly. Once. */
int layer_stream_check_stored(struct layer_stream *s, struct err *e);

/* Instead, after the last pull: everything was there, nothing is left, and the digests are the promised ones.
 */
int layer_stream_finish(struct layer_stream *s, struct err *e);

/* Bytes of the tar so far. */
uint64_t layer_stream_size(const struct layer_stream *s);

#endif
