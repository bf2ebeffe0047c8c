/* SPDX-License-Identifier: Apache-2.0
 * Whole reads and writes, and files that appear complete or not at all. */
#include "proto/base/io.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int read_full(int fd, void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n > 0) {
		ssize_t r = read(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int write_full(int fd, const void *buf, size_t n)
{
	const uint8_t *p = buf;

	while (n > 0) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int pread_full(int fd, void *buf, size_t n, uint64_t offset)
{
	uint8_t *p = buf;

	if (offset > INT64_MAX - n)
		return -EOVERFLOW;
	while (n > 0) {
		ssize_t r = pread(fd, p, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		p += r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

int pwrite_full(int fd, const void *buf, size_t n, uint64_t offset)
{
	const uint8_t *p = buf;

	if (offset > INT64_MAX - n)
		return -EOVERFLOW;
	while (n > 0) {
		ssize_t r = pwrite(fd, p, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

int file_read(int dirfd, const char *path, struct buf *to, struct err *e)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	uint8_t piece[16384];

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	for (;;) {
		ssize_t r = read(fd, piece, sizeof(piece));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_errno(e, -errno, "%s", path);
		if (r == 0)
			break;
		buf_put(to, piece, (size_t)r);
		/* what was read may be a key */
		explicit_bzero(piece, (size_t)r);
		if (buf_failed(to) && (size_t)r <= to->max - to->size)
			return err_set(e, -ENOMEM, "%s: out of memory", path);
		if (buf_failed(to))
			return err_set(e, -E2BIG, "%s: larger than %zu bytes", path, to->max);
	}
	return 0;
}

static int file_fill(int fd, const void *p, size_t n, unsigned mode, bool sync)
{
	int r = write_full(fd, p, n);

	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0))
		return -errno;
	return 0;
}

/* Fill a file of another name, then give it its own. */
static int replace(int dirfd, const char *path, const void *p, size_t n, unsigned mode, bool sync,
		   struct err *e)
{
	static atomic_uint serial;
	char name[PATH_MAX];
	cleanup_close int fd = -1;
	int r;

	r = snprintf(name, sizeof(name), "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1));
	if (r < 0 || (size_t)r >= sizeof(name))
		return err_set(e, -ENAMETOOLONG, "%s: name too long", path);
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "%s", name);
	r = file_fill(fd, p, n, mode, sync);
	if (r == 0 && renameat(dirfd, name, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dirfd, name, 0);
		return err_errno(e, r, "%s", path);
	}
	return 0;
}

int file_write(int dirfd, const char *path, const void *p, size_t n, unsigned mode, struct err *e)
{
	return replace(dirfd, path, p, n, mode, true, e);
}

int file_write_unsynced(int dirfd, const char *path, const void *p, size_t n, struct err *e)
{
	return replace(dirfd, path, p, n, 0600, false, e);
}

int file_create(int dirfd, const char *path, const void *p, size_t n, unsigned mode, struct err *e)
{
	cleanup_close int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "%s", path);
	r = file_fill(fd, p, n, mode, true);
	if (r < 0) {
		(void)unlinkat(dirfd, path, 0);
		return err_errno(e, r, "%s", path);
	}
	return 0;
}

int make_directories(const char *path, struct err *e)
{
	char part[PATH_MAX];
	size_t n = strlen(path);
	struct stat st;

	if (n == 0 || n >= sizeof(part))
		return err_set(e, -EINVAL, "directory name of %zu bytes", n);
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return err_errno(e, -errno, "%s", part);
		if (i < n)
			part[i] = '/';
	}
	if (stat(path, &st) < 0)
		return err_errno(e, -errno, "%s", path);
	return S_ISDIR(st.st_mode) ? 0 : err_errno(e, -ENOTDIR, "%s", path);
}
