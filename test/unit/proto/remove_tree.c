/* SPDX-License-Identifier: Apache-2.0
 * Trees that a container may leave behind. */
#include "proto/base/remove_tree.h"
#include "test/unit/scratch.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory in a directory in a directory …: deeper than any path can name. */
Test(remove_tree, depth_costs_nothing, .init = scratch_open, .fini = scratch_close)
{
	int top = open(scratch, O_RDONLY | O_DIRECTORY), at = dup(top);
	struct err e = {""};

	for (int i = 0; i < 3000; i++) {
		int next;

		cr_assert_eq(mkdirat(at, "d", 0700), 0);
		cr_assert_eq(mknodat(at, "f", S_IFREG | 0600, 0), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY);
		cr_assert_geq(next, 0);
		(void)close(at);
		at = next;
	}
	(void)close(at);
	cr_assert_eq(remove_tree(top, "d", &e), 0, "%s", e.text);
	cr_assert_eq(remove_tree(top, "d", &e), 0, "nothing there is no error");
	cr_assert_eq(faccessat(top, "d", F_OK, 0), -1);
	(void)close(top);
}

Test(remove_tree, follows_no_symlink, .init = scratch_open, .fini = scratch_close)
{
	int top = open(scratch, O_RDONLY | O_DIRECTORY);

	cr_assert_eq(mkdirat(top, "kept", 0700), 0);
	cr_assert_eq(mknodat(top, "kept/f", S_IFREG | 0600, 0), 0);
	cr_assert_eq(mkdirat(top, "tree", 0700), 0);
	cr_assert_eq(symlinkat("../kept", top, "tree/link"), 0);
	cr_assert_eq(symlinkat("kept", top, "link"), 0);
	cr_assert_eq(remove_tree(top, "tree", NULL), 0);
	cr_assert_eq(remove_tree(top, "link", NULL), 0);
	cr_assert_eq(faccessat(top, "kept/f", F_OK, 0), 0);
	(void)close(top);
}
