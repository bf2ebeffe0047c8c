/* SPDX-License-Identifier: Apache-2.0
 * Recursion with one descriptor a level, to a limited depth. A directory below that is moved up to the top of
 * the tree, and is met there again in a later pass: so the depth that a container could make costs neither
 * stack nor descriptors. */
#include "proto/base/remove_tree.h"
#include "proto/base/cleanup.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DEPTH 64

struct removal {
	int top;	  /* the tree's first directory: where deep ones are moved to */
	dev_t device;	  /* its filesystem */
	unsigned n_moved; /* names of what was moved */
	bool moved;	  /* in this pass */
};

static int remove_children(struct removal *x, int fd, unsigned depth, struct err *e);

static int move_up(struct removal *x, int dirfd, const char *name, struct err *e)
{
	char to[32];

	for (;;) {
		(void)snprintf(to, sizeof(to), ".deep-%u", x->n_moved++);
		if (renameat2(dirfd, name, x->top, to, RENAME_NOREPLACE) == 0)
			break;
		if (errno != EEXIST)
			return err_errno(e, -errno, "moving %s", name);
	}
	x->moved = true;
	return 0;
}

static int remove_directory(struct removal *x, int dirfd, const char *name, unsigned depth, struct err *e)
{
	cleanup_close int fd = -1;
	struct stat st;
	int r;

	if (depth == MAX_DEPTH)
		return move_up(x, dirfd, name, e);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, -errno, "%s", name);
	if (st.st_dev != x->device)
		return err_set(e, -EXDEV, "%s: something is mounted there", name);
	r = remove_children(x, fd, depth, e);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(e, -errno, "%s", name);
	return 0;
}

static int remove_children(struct removal *x, int fd, unsigned depth, struct err *e)
{
	cleanup_closedir DIR *dir = NULL;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct dirent *entry;

	if (own < 0)
		return err_errno(e, -errno, "directory");
	dir = fdopendir(own);
	if (!dir) {
		(void)close(own);
		return -ENOMEM;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) {
		int r = 0;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		if (errno == EISDIR)
			r = remove_directory(x, fd, entry->d_name, depth + 1, e);
		else if (errno != ENOENT)
			r = err_errno(e, -errno, "%s", entry->d_name);
		if (r < 0)
			return r;
	}
	return 0;
}

int remove_tree(int dirfd, const char *name, struct err *e)
{
	struct removal x = {0};
	cleanup_close int top = -1;
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return err_errno(e, -errno, "%s", name);
	top = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0 || fstat(top, &st) < 0)
		return err_errno(e, -errno, "%s", name);
	x.top = top;
	x.device = st.st_dev;
	do {
		int r;

		x.moved = false;
		r = remove_children(&x, top, 0, e);
		if (r < 0)
			return r;
	} while (x.moved);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_errno(e, -errno, "%s", name);
	return 0;
}
