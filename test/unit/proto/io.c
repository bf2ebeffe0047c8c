/* SPDX-License-Identifier: Apache-2.0
 * Whole reads and writes over short ones, and files that are there complete or not at all. */
#include "proto/base/io.h"
#include "test/unit/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(io, .init = scratch_open, .fini = scratch_close);

static void *dribble(void *arg)
{
	int fd = *(const int *)arg;

	for (char c = 'a'; c <= 'j'; c++)
		if (write(fd, &c, 1) != 1)
			break;
	(void)close(fd);
	return NULL;
}

Test(io, read_full_waits_for_all_and_tells_the_early_end)
{
	int fds[2];
	char got[10];
	pthread_t t;

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(pthread_create(&t, NULL, dribble, &fds[1]), 0);
	cr_assert_eq(read_full(fds[0], got, 8), 0);
	cr_assert_eq(memcmp(got, "abcdefgh", 8), 0);
	cr_assert_eq(read_full(fds[0], got, 3), -ENODATA);
	cr_assert_eq(read_full(-1, got, 1), -EBADF);
	cr_assert_eq(read_full(-1, got, 0), 0);
	(void)pthread_join(t, NULL);
	(void)close(fds[0]);
}

Test(io, write_full_passes_a_full_pipe)
{
	static char big[1 << 20], back[1 << 20];
	int fds[2];
	pid_t child;

	memset(big, 'x', sizeof(big));
	cr_assert_eq(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		(void)close(fds[0]);
		_exit(write_full(fds[1], big, sizeof(big)) == 0 ? 0 : 1);
	}
	(void)close(fds[1]);
	cr_assert_eq(read_full(fds[0], back, sizeof(back)), 0);
	cr_assert_eq(memcmp(big, back, sizeof(big)), 0);
	(void)close(fds[0]);
}

Test(io, write_full_tells_a_broken_pipe)
{
	int fds[2];

	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe(fds), 0);
	(void)close(fds[0]);
	cr_assert_eq(write_full(fds[1], "x", 1), -EPIPE);
	(void)close(fds[1]);
}

Test(io, positioned_reads_and_writes)
{
	int fd = open(scratch_path("f"), O_RDWR | O_CREAT, 0600);
	char got[4];

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite_full(fd, "abcd", 4, 100), 0);
	cr_assert_eq(pread_full(fd, got, 4, 100), 0);
	cr_assert_eq(memcmp(got, "abcd", 4), 0);
	cr_assert_eq(pread_full(fd, got, 4, 101), -ENODATA);
	cr_assert_eq(pread_full(fd, got, 4, INT64_MAX - 3), -EOVERFLOW);
	cr_assert_eq(pwrite_full(fd, got, 4, UINT64_MAX), -EOVERFLOW);
	(void)close(fd);
}

Test(io, file_read_gives_all_or_too_big)
{
	cleanup_buf struct buf b;
	static char text[50000];
	struct err e;

	memset(text, 'y', sizeof(text));
	cr_assert_eq(file_write(AT_FDCWD, scratch_path("f"), text, sizeof(text), 0600, &e), 0, "%s", e.text);
	buf_init(&b, sizeof(text));
	cr_assert_eq(file_read(AT_FDCWD, scratch_path("f"), &b, &e), 0);
	cr_assert_eq(b.size, sizeof(text));
	buf_deinit(&b);
	buf_init(&b, sizeof(text) - 1);
	cr_assert_eq(file_read(AT_FDCWD, scratch_path("f"), &b, &e), -E2BIG);
	cr_assert_not_null(strstr(e.text, "larger than 49999 bytes"));
	cr_assert_eq(file_read(AT_FDCWD, scratch_path("none"), &b, &e), -ENOENT);
	cr_assert_eq(file_read(AT_FDCWD, scratch, &b, &e), -EISDIR);
}

static int count_entries(void)
{
	DIR *d = opendir(scratch);
	int n = -2; /* . and .. */

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

Test(io, file_write_replaces_whole_files_and_leaves_nothing_else)
{
	struct stat st;
	struct err e;
	char got[3];
	int fd;

	cr_assert_eq(file_write(AT_FDCWD, scratch_path("f"), "old text", 8, 0600, &e), 0);
	cr_assert_eq(file_write(AT_FDCWD, scratch_path("f"), "new", 3, 0644, &e), 0);
	cr_assert_eq(stat(scratch_path("f"), &st), 0);
	cr_assert_eq(st.st_size, 3);
	cr_assert_eq(st.st_mode & 07777, 0644);
	fd = open(scratch_path("f"), O_RDONLY);
	cr_assert_eq(read_full(fd, got, 3), 0);
	cr_assert_eq(memcmp(got, "new", 3), 0);
	(void)close(fd);
	cr_assert_eq(count_entries(), 1);
	/* a directory cannot be replaced: the temporary file goes */
	cr_assert_eq(mkdir(scratch_path("d"), 0700), 0);
	cr_assert_lt(file_write(AT_FDCWD, scratch_path("d"), "new", 3, 0644, &e), 0);
	cr_assert_eq(count_entries(), 2);
	cr_assert_eq(file_write(AT_FDCWD, scratch_path("no/where"), "new", 3, 0644, &e), -ENOENT);
}

Test(io, file_create_never_replaces)
{
	cleanup_buf struct buf b = {.max = 10};
	struct stat st;
	struct err e;

	cr_assert_eq(file_create(AT_FDCWD, scratch_path("f"), "old", 3, 0640, &e), 0, "%s", e.text);
	cr_assert_eq(file_create(AT_FDCWD, scratch_path("f"), "new", 3, 0640, &e), -EEXIST);
	cr_assert_eq(file_read(AT_FDCWD, scratch_path("f"), &b, &e), 0);
	cr_assert_eq(memcmp(b.data, "old", 3), 0);
	cr_assert_eq(stat(scratch_path("f"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0640);
	cr_assert_eq(symlink("nowhere", scratch_path("link")), 0);
	cr_assert_eq(file_create(AT_FDCWD, scratch_path("link"), "new", 3, 0640, &e), -EEXIST,
		     "follows no link");
	cr_assert_eq(count_entries(), 2);
}

Test(io, file_write_unsynced_replaces_whole_files_and_leaves_nothing_else)
{
	cleanup_buf struct buf got;
	struct err e = {""};
	struct stat st;

	buf_init(&got, 100);
	cr_assert_eq(mkdir(scratch_path("d"), 0700), 0);
	cr_assert_eq(file_write_unsynced(AT_FDCWD, scratch_path("d/f"), "old text", 8, &e), 0);
	cr_assert_eq(file_write_unsynced(AT_FDCWD, scratch_path("d/f"), "new", 3, &e), 0);
	cr_assert_eq(file_read(AT_FDCWD, scratch_path("d/f"), &got, &e), 0);
	cr_assert_eq(got.size, 3);
	cr_assert_arr_eq(got.data, "new", 3);
	cr_assert_eq(stat(scratch_path("d/f"), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(file_write_unsynced(AT_FDCWD, scratch_path("d/no/where"), "new", 3, &e), -ENOENT);
	cr_assert_eq(mkdir(scratch_path("d/g"), 0700), 0);
	cr_assert_lt(file_write_unsynced(AT_FDCWD, scratch_path("d/g"), "new", 3, &e), 0);
	cr_assert_eq(rmdir(scratch_path("d/g")), 0);
	cr_assert_eq(unlink(scratch_path("d/f")), 0);
	cr_assert_eq(rmdir(scratch_path("d")), 0, "a temporary file is left");
}

Test(io, file_write_is_relative_to_a_directory)
{
	int dirfd = open(scratch, O_RDONLY | O_DIRECTORY);
	cleanup_buf struct buf b;
	struct err e;

	buf_init(&b, 10);
	cr_assert_eq(file_write(dirfd, "f", "abc", 3, 0600, &e), 0);
	cr_assert_eq(file_read(dirfd, "f", &b, &e), 0);
	cr_assert_eq(b.size, 3);
	(void)close(dirfd);
}

Test(io, make_directories_makes_what_is_missing)
{
	struct stat st;
	struct err e;
	char *path = strdup(scratch_path("a/b/c"));

	cr_assert_eq(make_directories(path, &e), 0);
	cr_assert_eq(make_directories(path, &e), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISDIR(st.st_mode));
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert_eq(make_directories("", &e), -EINVAL);
	cr_assert_eq(file_write(AT_FDCWD, scratch_path("a/file"), "x", 1, 0600, &e), 0);
	cr_assert_eq(make_directories(scratch_path("a/file/b"), &e), -ENOTDIR);
	cr_assert_eq(make_directories(scratch_path("a/file"), &e), -ENOTDIR);
	free(path);
}
