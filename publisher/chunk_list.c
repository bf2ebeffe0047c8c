/* SPDX-License-Identifier: Apache-2.0
 * Records in an array, an open hash of their ids beside it. Ids are SHA-256: their first bytes are the hash.
 */
#include "publisher/chunk_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORDS (1u << 30)

static uint32_t *slot_of(const struct chunk_list *l, const struct digest *id)
{
	size_t i;

	memcpy(&i, id->bytes, sizeof(i));
	for (;; i++) {
		uint32_t *slot = &l->slots[i & (l->n_slots - 1)];

		if (*slot == 0 || digest_equal(&l->records[*slot - 1].chunk.id, id))
			return slot;
	}
}

/* Twice the room; the old records hold keys, so no realloc. */
static int grow(struct chunk_list *l)
{
	size_t room = l->room ? l->room * 2 : 256;
	struct chunk_record *records;
	uint32_t *slots;

	if (room > MAX_RECORDS)
		return -E2BIG;
	records = calloc(room, sizeof(*records));
	slots = calloc(room * 2, sizeof(*slots));
	if (!records || !slots) {
		free(records);
		free(slots);
		return -ENOMEM;
	}
	if (l->records) {
		memcpy(records, l->records, l->n * sizeof(*records));
		explicit_bzero(l->records, l->n * sizeof(*records));
	}
	free(l->records);
	free(l->slots);
	l->records = records;
	l->room = room;
	l->slots = slots;
	l->n_slots = room * 2;
	for (size_t i = 0; i < l->n; i++)
		*slot_of(l, &records[i].chunk.id) = (uint32_t)i + 1;
	return 0;
}

int chunk_list_add(struct chunk_list *l, const struct sealed_chunk *c, uint64_t offset, uint32_t blob,
		   uint32_t *number)
{
	uint32_t *slot;

	if (l->n == l->room) {
		int r = grow(l);

		if (r < 0)
			return r;
	}
	slot = slot_of(l, &c->id);
	if (*slot) {
		*number = *slot - 1;
		return CHUNK_KNOWN;
	}
	*number = (uint32_t)l->n;
	l->records[l->n++] = (struct chunk_record){.chunk = *c, .offset = offset, .blob = blob};
	*slot = (uint32_t)l->n;
	return 0;
}

void chunk_list_deinit(struct chunk_list *l)
{
	if (l->records)
		explicit_bzero(l->records, l->n * sizeof(*l->records));
	free(l->records);
	free(l->slots);
	*l = (struct chunk_list){0};
}
