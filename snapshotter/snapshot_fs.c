/* SPDX-License-Identifier: Apache-2.0
 * A directory for each id below one directory that is kept open. Something renamed aside is called
 * "removed-<id>"; leftovers of a crash have an id that the database does not know. */
#include "snapshotter/snapshot_fs.h"

#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/remove_tree.h"

#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_ROOT 3000u
#define REMOVED "removed-"

struct snapshot_fs {
	char *path; /* ROOT/snapshots */
	int fd;	    /* the same, open */
};

DEFINE_CLEANUP(snapshot_fs, struct snapshot_fs *, snapshot_fs_close)

int snapshot_fs_open(struct snapshot_fs **out, const char *root, struct err *e)
{
	__attribute__((cleanup(cleanup_snapshot_fs))) struct snapshot_fs *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->fd = -1;
	if (*root != '/' || strlen(root) > MAX_ROOT)
		return err_set(e, -EINVAL, "root %.64s… is not an absolute path of at most %u bytes", root,
			       MAX_ROOT);
	if (asprintf(&f->path, "%s/snapshots", root) < 0) {
		f->path = NULL;
		return -ENOMEM;
	}
	r = make_directories(f->path, e);
	if (r < 0)
		return r;
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->fd < 0)
		return err_errno(e, -errno, "%s", f->path);
	*out = take_ptr(f);
	return 0;
}

void snapshot_fs_close(struct snapshot_fs *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		(void)close(f->fd);
	free(f->path);
	free(f);
}

const char *snapshot_fs_path(const struct snapshot_fs *f, int64_t id, enum snapshot_dir which,
			     char path[static PATH_MAX])
{
	(void)snprintf(path, PATH_MAX, "%s/%" PRId64 "/%s", f->path, id,
		       which == SNAPSHOT_FS ? "fs" : "work");
	return path;
}

static int take_attributes(int dirfd, const char *name, const char *like, struct err *e)
{
	cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_errno(e, -errno, "%s", name);
	if (!like)
		return fchmod(fd, 0755) < 0 ? err_errno(e, -errno, "%s", name) : 0; /* whatever the umask */
	if (stat(like, &st) < 0)
		return err_errno(e, -errno, "%s", like);
	if (fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0 ||
	    futimens(fd, (const struct timespec[2]){st.st_atim, st.st_mtim}) < 0)
		return err_errno(e, -errno, "%s", name);
	return 0;
}

int snapshot_fs_create(struct snapshot_fs *f, int64_t id, bool writable, const char *like, struct err *e)
{
	cleanup_close int fd = -1;
	char name[32];
	int r;

	(void)snprintf(name, sizeof(name), "%" PRId64, id);
	if (mkdirat(f->fd, name, 0700) < 0) {
		if (errno != EEXIST)
			return err_errno(e, -errno, "%s/%s", f->path, name);
		r = remove_tree(f->fd, name, e);
		if (r < 0)
			return r;
		if (mkdirat(f->fd, name, 0700) < 0)
			return err_errno(e, -errno, "%s/%s", f->path, name);
	}
	fd = openat(f->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || mkdirat(fd, "fs", 0755) < 0 || (writable && mkdirat(fd, "work", 0711) < 0))
		return err_errno(e, -errno, "%s/%s", f->path, name);
	return take_attributes(fd, "fs", like, e);
}

/* Inodes with several links that were counted already: a tree of search.h over inode numbers (one
 * filesystem). */

static int compare_inodes(const void *a, const void *b)
{
	const ino_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int is_first_link(void **seen, ino_t inode)
{
	ino_t *key = malloc(sizeof(*key));
	ino_t **found;

	if (!key)
		return -ENOMEM;
	*key = inode;
	found = tsearch(key, seen, compare_inodes); /* the node's first member is the key */
	if (!found || *found != key)
		free(key);
	if (!found)
		return -ENOMEM;
	return *found == key;
}

static int count(FTS *walk, void **seen, uint64_t *size, uint64_t *inodes)
{
	FTSENT *entry;

	while ((entry = fts_read(walk))) {
		int first = 1;

		if (entry->fts_info == FTS_DP || entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR)
			continue; /* seen already, or gone meanwhile: a container is at work in there */
		if (entry->fts_statp->st_nlink > 1 && !S_ISDIR(entry->fts_statp->st_mode))
			first = is_first_link(seen, entry->fts_statp->st_ino);
		if (first < 0)
			return first;
		if (first > 0) {
			*size += (uint64_t)entry->fts_statp->st_blocks * 512;
			(*inodes)++;
		}
	}
	return 0;
}

int snapshot_fs_usage(struct snapshot_fs *f, int64_t id, uint64_t *size, uint64_t *inodes, struct err *e)
{
	char path[PATH_MAX];
	char *const paths[] = {path, NULL};
	void *seen = NULL;
	FTS *walk;
	int r;

	(void)snapshot_fs_path(f, id, SNAPSHOT_FS, path);
	walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	if (!walk)
		return err_errno(e, -errno, "%s", path);
	*size = 0;
	*inodes = 0;
	r = count(walk, &seen, size, inodes);
	(void)fts_close(walk);
	tdestroy(seen, free);
	return r < 0 ? err_errno(e, r, "%s", path) : 0;
}

int snapshot_fs_remove(struct snapshot_fs *f, int64_t id, struct err *e)
{
	char from[32], to[48];

	(void)snprintf(from, sizeof(from), "%" PRId64, id);
	(void)snprintf(to, sizeof(to), REMOVED "%" PRId64, id);
	if (renameat(f->fd, from, f->fd, to) < 0 && (errno == ENOTEMPTY || errno == EEXIST)) {
		/* An id whose creation was undone is given again. */
		int r = remove_tree(f->fd, to, e);

		if (r < 0)
			return r;
		(void)renameat(f->fd, from, f->fd, to);
	}
	if (faccessat(f->fd, from, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, -EIO, "%s/%s cannot be renamed", f->path, from);
	return 0;
}

static bool is_unwanted(const char *name, snapshot_fs_keep *keep, void *arg)
{
	char *end;
	long long id;

	if (strncmp(name, REMOVED, strlen(REMOVED)) == 0)
		return true;
	if (!keep || *name < '1' || *name > '9')
		return false; /* not ours to judge */
	errno = 0;
	id = strtoll(name, &end, 10);
	return errno == 0 && *end == '\0' && !keep(arg, id);
}

int snapshot_fs_cleanup(struct snapshot_fs *f, snapshot_fs_keep *keep, void *arg, struct err *e)
{
	int own = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), first = 0;
	cleanup_closedir DIR *dir = own < 0 ? NULL : fdopendir(own);
	struct dirent *entry;

	if (!dir) {
		if (own >= 0)
			(void)close(own);
		return err_errno(e, -errno, "%s", f->path);
	}
	while ((entry = readdir(dir))) {
		int r;

		if (!is_unwanted(entry->d_name, keep, arg))
			continue;
		r = remove_tree(f->fd, entry->d_name, first == 0 ? e : NULL);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}
