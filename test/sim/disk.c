/* SPDX-License-Identifier: Apache-2.0
 * The files and folders that the host sees: calls on the tree of nodes.c. The disk may be full, or fail. */
#include "nodes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* An open file or folder. */
struct open_node {
	struct file file;
	uint32_t node;
	size_t at;
	int fd;
	uint32_t listed; /* the next entry of a folder that is read */
	struct dirent entry;
};

static void close_opened(struct file *f, int fd)
{
	struct open_node *o = (struct open_node *)f;

	(void)fd;
	node_close(o->node);
	own_free(o);
}

static const struct file_ops node_ops = {close_opened};

/* Where a path begins, and its last name. 0 and an errno when there is no such folder. */
static uint32_t walk(int dirfd, const char *path, char name[static NAME_ROOM])
{
	uint32_t at = ROOT;

	if (path[0] != '/') {
		struct open_node *o = (struct open_node *)file_of(dirfd, &node_ops);

		if (!o)
			return 0;
		at = o->node;
	}
	while (*path == '/')
		path++;
	for (;;) {
		size_t n = strcspn(path, "/");

		(void)snprintf(name, NAME_ROOM, "%.*s", (int)n, path);
		path += n;
		if (!*path)
			return at;
		path++;
		at = node_find(at, name);
		if (!at || !nodes[at].folder) {
			errno = ENOENT;
			return 0;
		}
	}
}

/* The node of a path; 0 and an errno. */
static uint32_t node_at(int dirfd, const char *path)
{
	char name[NAME_ROOM];
	uint32_t parent = walk(dirfd, path, name), n;

	if (!parent)
		return 0;
	n = strcmp(name, ".") == 0 ? parent : node_find(parent, name);
	if (!n)
		errno = ENOENT;
	return n;
}

static bool disk_fails(void)
{
	if (plan.healed || !host_is_up() || !dice_chance(OF_DISK, plan.disk_error))
		return false;
	totals.faults++;
	trace("disk fails", 0, 0);
	errno = EIO;
	return true;
}

static int open_at(int dirfd, const char *path, int flags)
{
	char name[NAME_ROOM];
	uint32_t parent, n;
	struct open_node *o;
	int fd;

	sim_preempt();
	/* file_write() counts its files for the whole life of a process, and tells the number when it fails
	 */
	if (!strstr(path, ".tmp-") && disk_fails())
		return -1;
	parent = walk(dirfd, path, name);
	if (!parent)
		return -1;
	n = strcmp(name, ".") == 0 ? parent : node_find(parent, name);
	if (n && (flags & O_CREAT) && (flags & O_EXCL)) {
		errno = EEXIST;
		return -1;
	}
	if (!n && !(flags & O_CREAT)) {
		errno = ENOENT;
		return -1;
	}
	if (!n)
		n = node_add(parent, name, false);
	if (!n) {
		errno = ENOSPC;
		return -1;
	}
	if ((flags & O_DIRECTORY) && !nodes[n].folder) {
		errno = ENOTDIR;
		return -1;
	}
	o = own_alloc(sizeof(*o));
	*o = (struct open_node){.file = {&node_ops, sim_side()}, .node = n};
	fd = file_add(&o->file);
	if (fd < 0) {
		own_free(o);
		return -1;
	}
	nodes[n].opens++;
	return fd;
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	return open_at(-1, path, flags);
}

int __wrap_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...)
{
	return open_at(dirfd, path, flags);
}

static struct open_node *opened(int fd)
{
	return (struct open_node *)file_of(fd, &node_ops);
}

static size_t read_node(const struct node *n, void *to, size_t size, uint64_t offset)
{
	if (offset >= n->size)
		return 0;
	if (size > n->size - offset)
		size = n->size - (size_t)offset;
	memcpy(to, n->data + offset, size);
	return size;
}

size_t disk_read(int fd, void *to, size_t n, uint64_t offset)
{
	const struct open_node *o = opened(fd);

	sim_check(o, "sendfile from no file");
	return read_node(&nodes[o->node], to, n, offset);
}

ssize_t __wrap_pread64(int fd, void *to, size_t n, off_t offset);
ssize_t __wrap_pread64(int fd, void *to, size_t n, off_t offset)
{
	const struct open_node *o = opened(fd);

	if (!o || disk_fails())
		return -1;
	return (ssize_t)read_node(&nodes[o->node], to, n, (uint64_t)offset);
}

ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n)
{
	struct open_node *o = opened(fd);
	size_t done;

	if (!o || disk_fails())
		return -1;
	done = read_node(&nodes[o->node], to, n, o->at);
	o->at += done;
	return (ssize_t)done;
}

static ssize_t write_node(struct open_node *o, const void *p, size_t n)
{
	struct node *x = &nodes[o->node];

	sim_preempt();
	if (!plan.healed && dice_chance(OF_DISK, plan.disk_full)) {
		totals.faults++;
		trace("disk full", (int64_t)n, 0);
		errno = ENOSPC;
		return -1;
	}
	if (n > 1 && dice_chance(OF_DISK, plan.short_io))
		n = 1 + dice_below(OF_DISK, (uint32_t)n - 1);
	if (o->at + n > x->room) {
		x->room = (o->at + n) * 2;
		x->data = own_grow(x->data, x->room);
	}
	memcpy(x->data + o->at, p, n);
	o->at += n;
	if (o->at > x->size)
		x->size = o->at;
	x->changed = sim_now();
	return (ssize_t)n;
}

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	struct open_node *o;

	if (fd == STDERR_FILENO) { /* the log */
		trace("log", (int64_t)n, sim_side());
		return (ssize_t)n;
	}
	o = opened(fd);
	return o ? write_node(o, p, n) : -1;
}

static int fill_stat(uint32_t n, struct stat *st)
{
	if (!n)
		return -1;
	*st = (struct stat){.st_mode = nodes[n].folder ? S_IFDIR | 0700 : S_IFREG | 0600,
			    .st_size = (off_t)nodes[n].size,
			    .st_mtim = {nodes[n].changed / SECOND, nodes[n].changed % SECOND}};
	return 0;
}

int __wrap_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st)
{
	const struct open_node *o = opened(fd);

	return o ? fill_stat(o->node, st) : -1;
}

int __wrap_fstatat64(int dirfd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int dirfd, const char *path, struct stat *st, int flags)
{
	(void)flags;
	return fill_stat(node_at(dirfd, path), st);
}

int __wrap_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st)
{
	return fill_stat(node_at(-1, path), st);
}

int __wrap_lstat64(const char *path, struct stat *st);
int __wrap_lstat64(const char *path, struct stat *st)
{
	return fill_stat(node_at(-1, path), st);
}

int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
	(void)mode;
	return file_of(fd, NULL) ? 0 : -1;
}

int __wrap_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode)
{
	(void)path, (void)mode;
	return 0; /* of the socket, which is not on this disk */
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	sim_preempt();
	return !opened(fd) || disk_fails() ? -1 : 0;
}

int __wrap_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size)
{
	const struct open_node *o = opened(fd);

	if (!o)
		return -1;
	sim_check((size_t)size <= nodes[o->node].size, "ftruncate makes a file longer");
	nodes[o->node].size = (size_t)size;
	return 0;
}

/* Nobody writes to a file that is mapped. */
void *__wrap_mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
	const struct open_node *o = opened(fd);

	(void)at, (void)flags;
	sim_check(protection == PROT_READ && offset == 0, "a mapping of another kind");
	if (!o || disk_fails() || n > nodes[o->node].size)
		return MAP_FAILED;
	return nodes[o->node].data;
}

int __wrap_munmap(void *p, size_t n);
int __wrap_munmap(void *p, size_t n)
{
	(void)p, (void)n;
	return 0;
}

int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation)
{
	(void)operation; /* one host lives at a time: host.c sees to it */
	return opened(fd) ? 0 : -1;
}

static int make_folder(int dirfd, const char *path)
{
	char name[NAME_ROOM];
	uint32_t parent = walk(dirfd, path, name);

	if (!parent || disk_fails())
		return -1;
	if (node_find(parent, name)) {
		errno = EEXIST;
		return -1;
	}
	if (!node_add(parent, name, true)) {
		errno = ENOSPC;
		return -1;
	}
	return 0;
}

int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
	(void)mode;
	return make_folder(-1, path);
}

int __wrap_mkdirat(int dirfd, const char *path, mode_t mode);
int __wrap_mkdirat(int dirfd, const char *path, mode_t mode)
{
	(void)mode;
	return make_folder(dirfd, path);
}

int __wrap_unlinkat(int dirfd, const char *path, int flags);
int __wrap_unlinkat(int dirfd, const char *path, int flags)
{
	uint32_t n = node_at(dirfd, path);

	(void)flags;
	if (!n)
		return -1;
	node_unlink(n);
	return 0;
}

int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
	return __wrap_unlinkat(-1, path, 0);
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char name[NAME_ROOM];
	uint32_t n = node_at(from_dir, from), parent = walk(to_dir, to, name), old;

	sim_preempt();
	if (!n || !parent || disk_fails())
		return -1;
	old = node_find(parent, name);
	if (old && nodes[old].folder) {
		errno = EEXIST;
		return -1;
	}
	if (old)
		node_unlink(old);
	nodes[n].opens++; /* so that it stays between its two names */
	node_unlink(n);
	nodes[n].opens--;
	node_link(n, parent, name);
	return 0;
}

DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
	struct open_node *o = opened(fd);

	if (!o)
		return NULL;
	o->fd = fd;
	o->listed = nodes[o->node].child;
	return (DIR *)o;
}

/* The entry that was read last may go meanwhile. */
struct dirent *__wrap_readdir64(DIR *d);
struct dirent *__wrap_readdir64(DIR *d)
{
	struct open_node *o = (struct open_node *)d;

	if (!o->listed)
		return NULL;
	(void)snprintf(o->entry.d_name, sizeof(o->entry.d_name), "%s", nodes[o->listed].name);
	o->listed = nodes[o->listed].older;
	return &o->entry;
}

int __wrap_dirfd(DIR *d);
int __wrap_dirfd(DIR *d)
{
	return ((struct open_node *)d)->fd;
}

int __wrap_close(int fd);
int __wrap_closedir(DIR *d);
int __wrap_closedir(DIR *d)
{
	return __wrap_close(((struct open_node *)d)->fd);
}
