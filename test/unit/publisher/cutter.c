/* SPDX-License-Identifier: Apache-2.0
 * Cuts follow content and the key, between the smallest and the largest chunk. */
#include "publisher/cutter.h"
#include "crypto/secret.h"

#include <criterion/criterion.h>
#include <string.h>

static struct cutter cutter_of(uint8_t secret)
{
	const struct secret prk = {{secret}};
	struct cutter c;

	cr_assert_eq(cutter_init(&c, &prk), 0);
	return c;
}

static void tail_of(uint8_t tail[static 64], unsigned i)
{
	for (unsigned j = 0; j < 64; j++)
		tail[j] = (uint8_t)(i * 31 + j * (i / 256 + 1));
}

Test(cutter, never_cuts_below_the_minimum_and_always_at_the_maximum)
{
	struct cutter c = cutter_of(1);
	uint8_t tail[64];

	for (unsigned i = 0; i < 1000; i++) {
		tail_of(tail, i);
		cr_assert_not(cut_after_block(&c, tail, 64, CUT_MIN - 1));
		cr_assert_not(cut_after_small_file(&c, tail, 64, CUT_MIN - 1));
		cr_assert(cut_after_block(&c, tail, 64, CUT_MAX));
		cr_assert(cut_after_small_file(&c, tail, 64, CUT_MAX));
	}
}

Test(cutter, cuts_where_the_content_says)
{
	struct cutter c = cutter_of(1);
	unsigned blocks = 0, files = 0;
	uint8_t tail[64];

	for (unsigned i = 0; i < 32000; i++) {
		tail_of(tail, i);
		blocks += cut_after_block(&c, tail, 64, CUT_MIN);
		files += cut_after_small_file(&c, tail, 64, CUT_MIN);
	}
	cr_expect(blocks > 800 && blocks < 1200, "%u of 32000 blocks, about one of 32 expected", blocks);
	cr_expect(files > 7200 && files < 8800, "%u of 32000 files, about one of 4 expected", files);
}

Test(cutter, depends_on_the_key)
{
	struct cutter a = cutter_of(1), b = cutter_of(2), again = cutter_of(1);
	unsigned differ = 0;
	uint8_t tail[64];

	cr_expect_eq(memcmp(&a, &again, sizeof(a)), 0);
	for (unsigned i = 0; i < 10000; i++) {
		tail_of(tail, i);
		differ += cut_after_block(&a, tail, 64, CUT_MIN) != cut_after_block(&b, tail, 64, CUT_MIN);
	}
	cr_expect_gt(differ, 300u);
}

Test(cutter, looks_at_the_last_64_bytes)
{
	struct cutter c = cutter_of(1);
	uint8_t long_tail[200];

	for (unsigned i = 0; i < 1000; i++) {
		memset(long_tail, (int)i, sizeof(long_tail));
		tail_of(long_tail + 136, i);
		cr_assert_eq(cut_after_block(&c, long_tail, 200, CUT_MIN),
			     cut_after_block(&c, long_tail + 136, 64, CUT_MIN));
	}
}
