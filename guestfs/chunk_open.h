/* SPDX-License-Identifier: Apache-2.0
 * Stored bytes of one chunk → its plaintext, in the order of FORMAT.md §6: length, id, tag, header,
 * decompression, padding. A struct opener is the scratch memory of one thread at a time. */
#ifndef COCOON_GUESTFS_CHUNK_OPEN_H
#define COCOON_GUESTFS_CHUNK_OPEN_H

#include "crypto/secret.h"
#include "proto/base/err.h"
#include "proto/format/chunk_table.h"

#include <stddef.h>
#include <stdint.h>

struct opener;

/* 0 or -ENOMEM. */
int opener_new(struct opener **out);
void opener_free(struct opener *o); /* wipes; NULL is fine */

/* What is known of a chunk before it arrives, all of it checked. */
struct chunk_expect {
	const struct chunk_entry *entry; /* from the table */
	const struct secret *key;	 /* from the map, or derived */
	uint32_t plain_size;	 /* from the map; 0 for the root chunk, whose size only its header knows */
	uint32_t max_chunk_size; /* from the descriptor */
};

/* Open `stored` into `plain`, which has plain_size bytes (max_chunk_size for the root chunk); *size is how
 * many there are. 0; -EBADMSG when length, id or tag are wrong; -EUCLEAN when the opened message breaks
 * [C1]…[C6]; -ENOMEM. On failure `plain` holds nothing of the message. */
int chunk_open(struct opener *o, uint8_t *plain, uint32_t *size, const struct chunk_expect *expect,
	       const uint8_t *stored, size_t stored_size, struct err *e);

#endif
