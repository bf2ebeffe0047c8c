/* SPDX-License-Identifier: Apache-2.0
 * A chained hash table; a SHA-256 digest is its own hash. */
#include "publisher/content_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024u

static size_t slot_of(const struct digest *d, size_t n_slots)
{
	size_t v;

	memcpy(&v, d->bytes, sizeof(v));
	return v & (n_slots - 1);
}

void content_table_deinit(struct content_table *t)
{
	for (size_t i = 0; i < t->n_slots; i++) {
		for (struct content *c = t->slots[i], *next; c; c = next) {
			next = c->next;
			free(c);
		}
	}
	free(t->slots);
	*t = (struct content_table){0};
}

struct content *content_find(const struct content_table *t, const struct digest *d)
{
	struct content *c = t->n_slots ? t->slots[slot_of(d, t->n_slots)] : NULL;

	while (c && !digest_equal(&c->digest, d))
		c = c->next;
	return c;
}

static int grow(struct content_table *t)
{
	size_t n_slots = t->n_slots ? t->n_slots * 2 : FIRST_SLOTS;
	struct content **slots = calloc(n_slots, sizeof(struct content *));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_slots; i++) {
		for (struct content *c = t->slots[i], *next; c; c = next) {
			struct content **slot = &slots[slot_of(&c->digest, n_slots)];

			next = c->next;
			c->next = *slot;
			*slot = c;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->n_slots = n_slots;
	return 0;
}

int content_add(struct content_table *t, const struct digest *d, unsigned layer, uint32_t start)
{
	struct content **slot, *c;

	if (t->n == t->n_slots && grow(t) < 0)
		return -ENOMEM;
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	slot = &t->slots[slot_of(d, t->n_slots)];
	*c = (struct content){.next = *slot,
			      .digest = *d,
			      .start = start,
			      .layer = (uint8_t)layer,
			      .written = (uint8_t)layer};
	*slot = c;
	t->n++;
	return 0;
}
