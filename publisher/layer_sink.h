/* SPDX-License-Identifier: Apache-2.0
 * Where the file data of one source layer goes: cut into chunks, sealed, written to the layer's data blob.
 * The layer reader calls it in the tar's order from one thread; sealing happens behind it on all cores. What
 * the sink writes is a function of the calls, the domain secret and the compression level alone. */
#ifndef COCOON_PUBLISHER_LAYER_SINK_H
#define COCOON_PUBLISHER_LAYER_SINK_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct layer_sink;

/* A run of file data follows: `size` bytes exactly, for files larger than the packing limit known beforehand.
 * Gives the run's first block, counted from the start of this layer's data. 0 or a negative errno. */
int layer_sink_begin(struct layer_sink *s, uint64_t size, uint64_t *first_block, struct err *e);

/* The next bytes of the run. */
int layer_sink_write(struct layer_sink *s, const void *p, size_t n, struct err *e);

/* The run is complete; it is padded with zeroes to a whole block. -EINVAL when fewer or more bytes came than
 * promised. */
int layer_sink_end(struct layer_sink *s, struct err *e);

#endif
