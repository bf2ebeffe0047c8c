/* SPDX-License-Identifier: Apache-2.0
 * Records keep their order and their number; an id is there once. */
#include "publisher/chunk_list.h"
#include "proto/base/bytes.h"

#include <criterion/criterion.h>

#define MANY 20000u

static struct sealed_chunk chunk(uint32_t i)
{
	struct sealed_chunk c = {.stored_size = i + 1, .plain_size = 4096};

	/* ids that collide in the hash's low bits */
	put_le32(c.id.bytes, i / 7);
	put_le32(c.id.bytes + 28, i);
	return c;
}

Test(chunk_list, numbers_each_id_once)
{
	struct chunk_list l = {0};
	uint32_t number;

	for (uint32_t i = 0; i < MANY; i++) {
		struct sealed_chunk c = chunk(i);

		cr_assert_eq(chunk_list_add(&l, &c, i * 10ull, 3, &number), 0);
		cr_assert_eq(number, i);
	}
	for (uint32_t i = 0; i < MANY; i += 3) {
		struct sealed_chunk c = chunk(i);

		cr_assert_eq(chunk_list_add(&l, &c, 1, 4, &number), CHUNK_KNOWN);
		cr_assert_eq(number, i);
		/* it keeps the place it had */
		cr_assert_eq(l.records[number].offset, i * 10ull);
		cr_assert_eq(l.records[number].blob, 3);
	}
	cr_expect_eq(l.n, MANY);
	chunk_list_deinit(&l);
	cr_expect_null(l.records);
}
