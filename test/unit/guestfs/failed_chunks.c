/* SPDX-License-Identifier: Apache-2.0
 * Chunks that failed lately. */
#include "guestfs/failed_chunks.h"

#include <criterion/criterion.h>
#include <errno.h>

TestSuite(failed_chunks, .timeout = 60);

Test(failed_chunks, fail_at_once_for_as_long_as_the_failure_took)
{
	struct failed_chunks f = {0};

	failed_chunks_init(&f);
	cr_assert_eq(failed_chunks_look(&f, 7, 1000), CHUNK_UNKNOWN);
	failed_chunks_add(&f, 7, -EREMOTEIO, 1000, 1300);
	cr_assert_eq(failed_chunks_look(&f, 7, 1300), -EREMOTEIO);
	cr_assert_eq(failed_chunks_look(&f, 7, 1599), -EREMOTEIO);
	cr_assert_eq(failed_chunks_look(&f, 7, 1600), CHUNK_ASK_ONCE);
	cr_assert_eq(failed_chunks_look(&f, 8, 1300), CHUNK_UNKNOWN);
	/* a second at most */
	failed_chunks_add(&f, 7, -ETIMEDOUT, 2000, 32000);
	cr_assert_eq(failed_chunks_look(&f, 7, 32999), -ETIMEDOUT);
	cr_assert_eq(failed_chunks_look(&f, 7, 33000), CHUNK_ASK_ONCE);
	/* and a minute in all */
	cr_assert_eq(failed_chunks_look(&f, 7, 32000 + FAILED_CHUNK_KNOWN_MS - 1), CHUNK_ASK_ONCE);
	cr_assert_eq(failed_chunks_look(&f, 7, 32000 + FAILED_CHUNK_KNOWN_MS), CHUNK_UNKNOWN);
	cr_assert_eq(failed_chunks_look(&f, 7, 32000), CHUNK_UNKNOWN);
	failed_chunks_deinit(&f);
}

Test(failed_chunks, are_forgotten_when_they_come_and_when_others_need_the_place)
{
	struct failed_chunks f = {0};

	failed_chunks_init(&f);
	cr_assert(!failed_chunks_drop(&f, 3));
	failed_chunks_add(&f, 3, -EPROTO, 0, 0);
	failed_chunks_add(&f, 4, -EPROTO, 0, 0);
	cr_assert(failed_chunks_drop(&f, 3));
	cr_assert(!failed_chunks_drop(&f, 3));
	cr_assert_eq(failed_chunks_look(&f, 3, 0), CHUNK_UNKNOWN);
	cr_assert_eq(failed_chunks_look(&f, 4, 0), CHUNK_ASK_ONCE);
	failed_chunks_add(&f, 4 + FAILED_CHUNKS, -EREMOTEIO, 0, 10);
	cr_assert_eq(failed_chunks_look(&f, 4, 0), CHUNK_UNKNOWN);
	cr_assert(!failed_chunks_drop(&f, 4));
	cr_assert_eq(failed_chunks_look(&f, 4 + FAILED_CHUNKS, 5), -EREMOTEIO);
	cr_assert_eq(f.n, 1);
	failed_chunks_deinit(&f);
}
