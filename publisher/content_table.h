/* SPDX-License-Identifier: Apache-2.0
 * Which file contents an image has already, by digest. Each layer's data must hold every content of that
 * layer, because a data blob is made from its layer alone; but an inode points at the first place in the
 * lowest layer, so that a reader touches the fewest blobs. About 80 bytes for a content. One thread. */
#ifndef COCOON_PUBLISHER_CONTENT_TABLE_H
#define COCOON_PUBLISHER_CONTENT_TABLE_H

#include "proto/base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct content {
	struct content *next;
	struct digest digest;
	uint32_t start; /* first block, in the data of layer `layer` */
	uint8_t layer;
	uint8_t written; /* the last layer whose data hold it */
};

struct content_table {
	struct content **slots;
	size_t n_slots, n;
};

/* From zeroed memory. */
void content_table_deinit(struct content_table *t);

struct content *content_find(const struct content_table *t, const struct digest *d);

/* A content that was not there: 0 or -ENOMEM. */
int content_add(struct content_table *t, const struct digest *d, unsigned layer, uint32_t start);

#endif
