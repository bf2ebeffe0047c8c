/* SPDX-License-Identifier: Apache-2.0
 * One source layer after sealing: its data blob, and what the index must know of it. Made by
 * layer_sink_finish(). */
#ifndef COCOON_PUBLISHER_SEALED_LAYER_H
#define COCOON_PUBLISHER_SEALED_LAYER_H

#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "publisher/chunk_list.h"
#include "publisher/cutter.h"
#include "publisher/layer_sink.h"
#include "publisher/seal_pool.h"

#include <stddef.h>
#include <stdint.h>

struct sealed_layer {
	struct digest digest; /* of the data blob */
	uint64_t size;	      /* of the data blob */
	uint64_t n_blocks;    /* of plaintext: the layer's part of the address space */
	struct chunk_list chunks;
	uint32_t *extents; /* owned: the layer's address space in order, as numbers into `chunks` */
	size_t n_extents;
};

void sealed_layer_deinit(struct sealed_layer *l); /* wipes; a zeroed struct is fine */

/* A sink that appends the data blob to `fd` (empty, borrowed). `pool` and `cutter` are borrowed until the
 * sink is closed; one sink at a time uses a pool. */
int layer_sink_open(struct layer_sink **out, int fd, struct seal_pool *pool, const struct secret *prk_domain,
		    const struct cutter *cutter, struct err *e);
/* All data came: seal what is left and give the result. */
int layer_sink_finish(struct layer_sink *s, struct sealed_layer *out, struct err *e);
void layer_sink_close(struct layer_sink *s); /* NULL is fine; before finish: gives up */

#endif
