/* SPDX-License-Identifier: Apache-2.0
 * The plaintext of a layer that was sealed a moment ago, read back block by block. One thread. */
#ifndef COCOON_PUBLISHER_LAYER_PLAIN_H
#define COCOON_PUBLISHER_LAYER_PLAIN_H

#include "proto/base/err.h"
#include "proto/format/format.h"
#include "publisher/sealed_layer.h"

#include <stdint.h>

struct layer_plain;

/* `layer` and `fd`, its data blob, are borrowed. 0, or -ENOMEM. */
int layer_plain_open(struct layer_plain **out, const struct sealed_layer *layer, int fd, struct err *e);
void layer_plain_close(struct layer_plain *p); /* wipes; NULL is fine */

/* Block `block` of the layer's data, until the next call. NULL with words, *error set, when the blob cannot
 * be read. */
const uint8_t *layer_plain_block(struct layer_plain *p, uint64_t block, int *error, struct err *e);

#endif
