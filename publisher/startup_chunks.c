/* SPDX-License-Identifier: Apache-2.0
 * A guest that finds all of this in one list needs to ask for nothing else: not for the pages of the map that
 * lead to the chunks either. */
#include "publisher/startup_chunks.h"

#include <errno.h>
#include <stdlib.h>

static void mark(struct startup_chunks *s, uint8_t *flag)
{
	s->n += !*flag;
	*flag = 1;
}

int startup_chunks_find(struct startup_chunks *out, const struct startup_division *d, const uint32_t *blocks,
			size_t n_blocks)
{
	size_t n_extents = d->n_pieces + d->map->n_extents, n_data = 0;
	uint8_t *touched = calloc(d->map->n_extents + 1, 1);
	uint32_t *data = calloc(n_blocks + 1, sizeof(*data));
	struct startup_chunks s = {
		.pages = calloc(n_extents / d->page_extents + 1, 1),
		.pieces = calloc(d->n_pieces + 1, 1),
	};
	int r = touched && data && s.pages && s.pieces ? 0 : -ENOMEM;

	for (size_t i = 0; i < n_blocks && r == 0; i++) {
		size_t piece = blocks[i] / d->piece_blocks;

		if (blocks[i] >= d->meta_blocks) {
			data[n_data++] = (uint32_t)(blocks[i] - d->meta_blocks);
		} else {
			mark(&s, &s.pieces[piece]);
			mark(&s, &s.pages[piece / d->page_extents]);
		}
	}
	if (r == 0)
		r = image_map_find(d->map, data, n_data, &s.data, &s.n_data, touched);
	for (size_t i = 0; i < d->map->n_extents && r == 0; i++)
		if (touched[i])
			mark(&s, &s.pages[(d->n_pieces + i) / d->page_extents]);
	s.n += s.n_data;
	free(touched);
	free(data);
	if (r < 0)
		startup_chunks_deinit(&s);
	else
		*out = s;
	return r;
}

void startup_chunks_deinit(struct startup_chunks *s)
{
	free(s->pages);
	free(s->pieces);
	free(s->data);
	*s = (struct startup_chunks){0};
}
