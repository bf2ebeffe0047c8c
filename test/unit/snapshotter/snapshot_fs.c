/* SPDX-License-Identifier: Apache-2.0
 * Directories of snapshots: attributes of the root, usage, what is removed and what is left. */
#include "snapshotter/snapshot_fs.h"

#include "test/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static struct snapshot_fs *fs;

static void setup(void)
{
	struct err e = {""};

	scratch_open();
	cr_assert_eq(snapshot_fs_open(&fs, scratch, &e), 0, "%s", e.text);
}

static void teardown(void)
{
	snapshot_fs_close(fs);
	scratch_close();
}

TestSuite(snapshot_fs, .init = setup, .fini = teardown);

static const char *file_of(int64_t id, const char *name)
{
	static char path[PATH_MAX + 64];
	char dir[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", snapshot_fs_path(fs, id, SNAPSHOT_FS, dir), name);
	return path;
}

static void make_file(int64_t id, const char *name, size_t size)
{
	static const char bytes[65536] = {1};
	int fd = open(file_of(id, name), O_WRONLY | O_CREAT, 0644);

	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	cr_assert_eq(fsync(fd), 0);
	(void)close(fd);
}

Test(snapshot_fs, a_root_is_0755_whatever_the_umask)
{
	char path[PATH_MAX];
	struct stat st;

	(void)umask(077);
	cr_assert_eq(snapshot_fs_create(fs, 1, true, NULL, NULL), 0);
	cr_assert_eq(stat(snapshot_fs_path(fs, 1, SNAPSHOT_FS, path), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0755);
	cr_assert_eq(access(snapshot_fs_path(fs, 1, SNAPSHOT_WORK, path), F_OK), 0);
	cr_assert_eq(snapshot_fs_create(fs, 2, false, NULL, NULL), 0);
	cr_assert_eq(access(snapshot_fs_path(fs, 2, SNAPSHOT_WORK, path), F_OK), -1);
}

Test(snapshot_fs, a_root_looks_like_the_one_below)
{
	const struct timespec times[2] = {{1, 2}, {3, 4}};
	const char *like = scratch_path("like");
	char path[PATH_MAX];
	struct stat st;

	cr_assert_eq(mkdir(like, 0700), 0);
	cr_assert_eq(chmod(like, 01775), 0);
	if (geteuid() == 0)
		cr_assert_eq(chown(like, 12, 34), 0);
	cr_assert_eq(utimensat(AT_FDCWD, like, times, 0), 0);
	cr_assert_eq(snapshot_fs_create(fs, 1, true, like, NULL), 0);
	cr_assert_eq(stat(snapshot_fs_path(fs, 1, SNAPSHOT_FS, path), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 01775);
	cr_assert_eq(st.st_mtim.tv_sec, 3);
	cr_assert_eq(st.st_mtim.tv_nsec, 4);
	if (geteuid() == 0) {
		cr_assert_eq(st.st_uid, 12);
		cr_assert_eq(st.st_gid, 34);
	}
}

Test(snapshot_fs, leftovers_of_an_id_go_when_it_is_made)
{
	cr_assert_eq(snapshot_fs_create(fs, 1, true, NULL, NULL), 0);
	make_file(1, "old", 1);
	cr_assert_eq(snapshot_fs_create(fs, 1, true, NULL, NULL), 0);
	cr_assert_eq(access(file_of(1, "old"), F_OK), -1);
}

Test(snapshot_fs, usage_counts_hard_links_once_and_follows_nothing)
{
	uint64_t size, inodes;
	char other[PATH_MAX + 64];

	cr_assert_eq(snapshot_fs_create(fs, 1, true, NULL, NULL), 0);
	make_file(1, "a", 65536);
	(void)snprintf(other, sizeof(other), "%s", file_of(1, "b"));
	cr_assert_eq(link(file_of(1, "a"), other), 0);
	cr_assert_eq(symlink("/usr", file_of(1, "c")), 0);
	cr_assert_eq(mkdir(file_of(1, "d"), 0), 0);
	cr_assert_eq(snapshot_fs_usage(fs, 1, &size, &inodes, NULL), 0);
	cr_assert_eq(inodes, 4, "%llu", (unsigned long long)inodes);
	cr_assert_geq(size, 65536);
	cr_assert_lt(size, 131072);
	cr_assert_lt(snapshot_fs_usage(fs, 99, &size, &inodes, NULL), 1);
}

static bool keep_two(void *arg, int64_t id)
{
	(void)arg;
	return id == 2;
}

Test(snapshot_fs, cleanup_takes_what_was_removed_and_what_nobody_knows)
{
	char path[PATH_MAX];

	for (int64_t id = 1; id <= 3; id++) {
		cr_assert_eq(snapshot_fs_create(fs, id, true, NULL, NULL), 0);
		make_file(id, "f", 1);
	}
	cr_assert_eq(mkdir(scratch_path("snapshots/not-ours"), 0700), 0);
	cr_assert_eq(snapshot_fs_remove(fs, 1, NULL), 0);
	cr_assert_eq(snapshot_fs_remove(fs, 1, NULL), 0, "removing twice is no error");
	cr_assert_eq(access(scratch_path("snapshots/removed-1"), F_OK), 0);
	cr_assert_eq(snapshot_fs_cleanup(fs, NULL, NULL, NULL), 0);
	cr_assert_eq(access(scratch_path("snapshots/removed-1"), F_OK), -1);
	cr_assert_eq(access(snapshot_fs_path(fs, 3, SNAPSHOT_FS, path), F_OK), 0);
	cr_assert_eq(snapshot_fs_cleanup(fs, keep_two, NULL, NULL), 0);
	cr_assert_eq(access(snapshot_fs_path(fs, 3, SNAPSHOT_FS, path), F_OK), -1);
	cr_assert_eq(access(snapshot_fs_path(fs, 2, SNAPSHOT_FS, path), F_OK), 0);
	cr_assert_eq(access(scratch_path("snapshots/not-ours"), F_OK), 0);
}
