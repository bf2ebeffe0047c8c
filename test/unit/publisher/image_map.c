/* SPDX-License-Identifier: Apache-2.0
 * Layers joined: chunks once, addresses one behind the other, and which chunk an address is in. */
#include "publisher/image_map.h"
#include "test/unit/publisher/sealed_layer_fixture.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(image_map, joins_layers_and_finds_blocks)
{
	static const uint32_t blocks[] = {35, 0, 29, 30, 4, 36, 1000, 16, 35};
	struct sealed_layer layers[3] = {0};
	struct image_map m;
	uint8_t touched[5] = {0};
	uint32_t *found;
	size_t n;

	add_chunk(&layers[0], 1, 16);
	add_chunk(&layers[0], 2, 4);
	add_chunk(&layers[0], 1, 16); /* again: blocks 20 … 35 */
	add_chunk(&layers[2], 2, 4);  /* in a layer above: 36 … 39 */
	add_chunk(&layers[2], 3, 1);
	cr_assert_eq(image_map_init(&m, layers, 3), 0);
	cr_expect_eq(m.data.n, 3u);
	cr_expect_eq(m.n_extents, 5u);
	cr_expect_eq(m.n_blocks, 41u);
	cr_expect_eq(image_map_extent(&m, 3)->blob, 0u);
	cr_expect_eq(image_map_extent(&m, 4)->blob, 2u);
	cr_assert_eq(image_map_find(&m, blocks, sizeof(blocks) / sizeof(blocks[0]), &found, &n, touched), 0);
	/* 35 is in the first chunk, 36 and 16 in the second; what is outside is left out */
	cr_assert_eq(n, 2u);
	cr_expect_eq(found[0], 0u);
	cr_expect_eq(found[1], 1u);
	cr_expect_arr_eq(touched, ((uint8_t[]){1, 1, 1, 1, 0}), 5);
	free(found);
	image_map_deinit(&m);
	for (int i = 0; i < 3; i++)
		sealed_layer_deinit(&layers[i]);
}

Test(image_map, takes_layers_without_data)
{
	struct sealed_layer none = {0};
	struct image_map m;
	uint32_t *found, block = 0;
	uint8_t touched = 0;
	size_t n;

	cr_assert_eq(image_map_init(&m, &none, 1), 0);
	cr_assert_eq(image_map_find(&m, &block, 1, &found, &n, &touched), 0);
	cr_expect_eq(n, 0u);
	free(found);
	image_map_deinit(&m);
}
