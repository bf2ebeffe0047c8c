/* SPDX-License-Identifier: Apache-2.0
 * What containerd finds when it looks users up: readable, the same after a restart. */
#include "snapshotter/stub_tree.h"

#include "proto/base/cleanup.h"
#include "test/unit/scratch.h"

#include <string.h>
#include <sys/stat.h>

TestSuite(stub_tree, .init = scratch_open, .fini = scratch_close);

static void expect(const char *path, mode_t mode, const char *text)
{
	cleanup_fclose FILE *f = NULL;
	char got[256];
	struct stat st;

	cr_assert_eq(stat(scratch_path(path), &st), 0, "%s", path);
	cr_assert_eq(st.st_mode & 07777, mode, "%s: %o", path, st.st_mode);
	if (!text)
		return;
	f = fopen(scratch_path(path), "r");
	cr_assert_not_null(f);
	got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
	cr_assert_str_eq(got, text);
}

Test(stub_tree, knows_root_and_nobody_else)
{
	cleanup_free char *lowers = NULL;
	char wanted[PATH_MAX * 2];
	struct err e = {""};

	(void)umask(077);
	cr_assert_eq(stub_tree_make(&lowers, scratch, &e), 0, "%s", e.text);
	(void)snprintf(wanted, sizeof(wanted), "%s/stub/tree:%s/stub/empty", scratch, scratch);
	cr_assert_str_eq(lowers, wanted);
	expect("stub/tree", 0755, NULL);
	expect("stub/empty", 0755, NULL);
	expect("stub/tree/etc", 0755, NULL);
	expect("stub/tree/etc/passwd", 0644, "root:x:0:0:root:/root:/bin/sh\n");
	expect("stub/tree/etc/group", 0644, "root:x:0:\n");
	cr_assert_eq(rmdir(scratch_path("stub/empty")), 0, "not empty");
}

/* An overlay may have the files open: they are the same inodes afterwards. */
Test(stub_tree, is_left_alone_by_a_restart)
{
	cleanup_free char *first = NULL, *second = NULL;
	struct stat before, after;

	cr_assert_eq(stub_tree_make(&first, scratch, NULL), 0);
	cr_assert_eq(stat(scratch_path("stub/tree/etc/passwd"), &before), 0);
	cr_assert_eq(unlink(scratch_path("stub/tree/etc/group")), 0, "as after a crash");
	cr_assert_eq(stub_tree_make(&second, scratch, NULL), 0);
	cr_assert_eq(stat(scratch_path("stub/tree/etc/passwd"), &after), 0);
	cr_assert_eq(before.st_ino, after.st_ino);
	cr_assert_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	expect("stub/tree/etc/group", 0644, "root:x:0:\n");
	cr_assert_str_eq(first, second);
}

Test(stub_tree, says_where_it_cannot_be_made)
{
	cleanup_free char *lowers = NULL;
	struct err e = {""};

	(void)fclose(fopen(scratch_path("stub"), "w"));
	cr_assert_lt(stub_tree_make(&lowers, scratch, &e), 0);
	cr_assert_not_null(strstr(e.text, "stub"), "%s", e.text);
	cr_assert_null(lowers);
}
