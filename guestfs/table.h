/* SPDX-License-Identifier: Apache-2.0
 * The public part of the index, read on demand and believed only block by block: a table block counts when
 * its path through the hash tree ends at the descriptor's root (FORMAT.md §5). Checked blocks are kept in
 * bounded private memory; what is fetched again is checked again. Any thread. */
#ifndef COCOON_GUESTFS_TABLE_H
#define COCOON_GUESTFS_TABLE_H

#include "guestfs/source.h"
#include "proto/base/err.h"
#include "proto/format/chunk_table.h"
#include "proto/format/descriptor.h"

#include <stdint.h>

struct table;

/* `source`, `d` and `blob_sizes` (d->n_blobs of them) are borrowed for the table's life. A public part of up
 * to WIRE_MAX_INDEX_READ bytes is fetched at once here, of a larger one the top of the tree. The source's
 * errors; a byte that is wrong is not one: it is noticed by whom it concerns. */
int table_open(struct table **out, struct source *source, const struct descriptor *d,
	       const uint64_t *blob_sizes, struct err *e);
void table_close(struct table *t); /* NULL is fine */

/* Entry `number` (< d->n_chunks). 0; -EBADMSG when the block or its path is wrong; -EUCLEAN ([T1]…[T4]); the
 * source's errors. */
int table_entry(struct table *t, uint32_t number, struct chunk_entry *out, struct err *e);

/* Check what no entry shows: that everything behind the last entry is zero. */
int table_verify_end(struct table *t, struct err *e);

#endif
