/* SPDX-License-Identifier: Apache-2.0
 * Blocks of an image become what a guest fetches for them: 3 pieces of metadata and 5 data extents, two of
 * them the same chunk, 2 extents to a map page. */
#include "publisher/startup_chunks.h"
#include "test/unit/publisher/sealed_layer_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(startup_chunks, finds_pages_pieces_and_data)
{
	/* metadata: blocks 0 … 69. Data: 70 +10 +10 +10 (the first again) +5 +5 */
	static const struct {
		uint32_t blocks[4], data[3];
		uint8_t pages[4], pieces[3];
		size_t n_blocks, n_data, n;
	} cases[] = {
		{{0}, {0}, {1}, {1}, 1, 0, 2},
		{{69, 32, 64}, {0}, {1, 1}, {0, 1, 1}, 3, 0, 4},
		{{70}, {0}, {0, 1}, {0}, 1, 1, 2},
		{{90}, {0}, {0, 0, 1}, {0}, 1, 1, 2}, /* the first chunk, by its second address */
		{{109, 80, 105, 31}, {3, 1}, {1, 0, 1, 1}, {1}, 4, 2, 6},
		{{110, 4000000000u}, {0}, {0}, {0}, 2, 0, 0},
		{{0}, {0}, {0}, {0}, 0, 0, 0},
	};
	struct sealed_layer layer = {0};
	struct startup_division d = {.meta_blocks = 70, .piece_blocks = 32, .n_pieces = 3, .page_extents = 2};
	struct image_map map;

	add_chunk(&layer, 1, 10);
	add_chunk(&layer, 2, 10);
	add_chunk(&layer, 1, 10);
	add_chunk(&layer, 3, 5);
	add_chunk(&layer, 4, 5);
	cr_assert_eq(image_map_init(&map, &layer, 1), 0);
	d.map = &map;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct startup_chunks s;

		cr_assert_eq(startup_chunks_find(&s, &d, cases[i].blocks, cases[i].n_blocks), 0);
		cr_expect_eq(s.n, cases[i].n, "case %zu: %zu", i, s.n);
		cr_assert_eq(s.n_data, cases[i].n_data, "case %zu: %zu", i, s.n_data);
		cr_expect_arr_eq(s.data, cases[i].data, s.n_data * sizeof(*s.data), "case %zu: data", i);
		cr_expect_arr_eq(s.pages, cases[i].pages, 4, "case %zu: pages", i);
		cr_expect_arr_eq(s.pieces, cases[i].pieces, 3, "case %zu: pieces", i);
		startup_chunks_deinit(&s);
	}
	image_map_deinit(&map);
	sealed_layer_deinit(&layer);
}
