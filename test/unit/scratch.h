/* SPDX-License-Identifier: Apache-2.0
 * A directory of a test's own: Test(a, b, .init = scratch_open, .fini = scratch_close) { …
 * scratch_path("file") … } */
#ifndef COCOON_TEST_UNIT_SCRATCH_H
#define COCOON_TEST_UNIT_SCRATCH_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch[64];

static inline void scratch_open(void)
{
	(void)snprintf(scratch, sizeof(scratch), "/tmp/cocoon-test-XXXXXX");
	cr_assert_not_null(mkdtemp(scratch));
}

static inline int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void scratch_close(void)
{
	(void)nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Good until the fourth call after it of the same thread. */
static inline const char *scratch_path(const char *name)
{
	static _Thread_local char paths[4][PATH_MAX];
	static _Thread_local unsigned turn;
	char *to = paths[turn++ % 4];

	(void)snprintf(to, PATH_MAX, "%s/%s", scratch, name);
	return to;
}

#endif
