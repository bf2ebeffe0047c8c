/* SPDX-License-Identifier: Apache-2.0
 * Sealed chunks in the order in which they were first seen, each id once. Holds keys: wiped when it goes. */
#ifndef COCOON_PUBLISHER_CHUNK_LIST_H
#define COCOON_PUBLISHER_CHUNK_LIST_H

#include "publisher/chunk_seal.h"

#include <stddef.h>
#include <stdint.h>

struct chunk_record {
	struct sealed_chunk chunk;
	uint64_t offset; /* in its blob */
	uint32_t blob;	 /* which blob, where a list spans several */
};

struct chunk_list {
	struct chunk_record *records; /* owned; zeroed struct = empty list */
	size_t n, room;
	uint32_t *slots; /* owned; open addressing over ids: record number + 1, 0 is free */
	size_t n_slots;
};

enum { CHUNK_KNOWN = 1 };

/* Add a chunk that lies at `offset` of `blob`. *number is its place in the list. 0 when it is new;
 * CHUNK_KNOWN when the list had it (and keeps the place it had); -ENOMEM, -E2BIG over 2^30 chunks. */
int chunk_list_add(struct chunk_list *l, const struct sealed_chunk *c, uint64_t offset, uint32_t blob,
		   uint32_t *number);
/* Wipes and frees; the struct is an empty list again. */
void chunk_list_deinit(struct chunk_list *l);

#endif
