/* SPDX-License-Identifier: Apache-2.0
 * Directories are entered, and names used without any: what was looked at is what is changed, and a name may
 * be as long as sockaddr_un allows however deep it lies. */
#include "chunkstore/machine_socket.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define BACKLOG 128 /* a full one looks like a reset to the guest */

size_t machine_socket_prefix(const char *pattern)
{
	size_t n = strcspn(pattern, "*?[\\");

	while (n > 1 && pattern[n - 1] != '/')
		n--;
	return n;
}

int machine_socket_thread(void)
{
	return unshare(CLONE_FS) < 0 ? -errno : 0;
}

static const char *name_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

/* n bytes of a path as a directory's name; without any it is `at` itself. */
static int open_directory(int at, const char *path, size_t n, uint64_t resolve)
{
	struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = resolve};
	cleanup_free char *directory = n > 0 ? strndup(path, n) : strdup(".");
	long fd;

	if (!directory)
		return -ENOMEM;
	fd = syscall(SYS_openat2, at, directory, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int machine_socket_enter(const char *path, size_t prefix, struct stat *out)
{
	cleanup_close int top = open_directory(AT_FDCWD, path, prefix, 0), directory = -1;

	if (top < 0)
		return top;
	directory = open_directory(top, path + prefix, (size_t)(name_of(path) - path) - prefix,
				   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (directory < 0)
		return directory;
	if (fchdir(directory) < 0)
		return -errno;
	return lstat(name_of(path), out) == 0 && S_ISSOCK(out->st_mode) ? 0 : MACHINE_GONE;
}

void machine_socket_leave(void)
{
	(void)!chdir("/");
}

/* Do something as the owner of the machine's socket. The calling thread's rights alone change. */
static void become_owner(const struct stat *socket)
{
	(void)setfsgid(socket->st_gid);
	(void)setfsuid(socket->st_uid);
}

static void become_self(void)
{
	(void)setfsuid(geteuid());
	(void)setfsgid(getegid());
}

static int name_ours(struct sockaddr_un *a, const struct machine_socket *s)
{
	int n;

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(a->sun_path, sizeof(a->sun_path), "%s_%u", name_of(s->path), s->port);
	return n < (int)sizeof(a->sun_path) ? 0 : -ENAMETOOLONG;
}

static int listen_at(const struct sockaddr_un *a, const struct stat *machine, struct stat *ours)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0;

	if (fd < 0 || fchmod(fd, 0600) < 0)
		return -errno;
	become_owner(machine);
	/* one of a daemon that was killed is in the way; anything else is somebody's */
	if (lstat(a->sun_path, ours) == 0 && S_ISSOCK(ours->st_mode))
		(void)unlink(a->sun_path);
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 || listen(fd, BACKLOG) < 0 ||
	    lstat(a->sun_path, ours) < 0)
		r = -errno;
	become_self();
	return r < 0 ? r : take_fd(&fd);
}

void machine_socket_make(struct machine_socket *s)
{
	struct sockaddr_un a;
	int r = name_ours(&a, s);

	s->fd = r < 0 ? r : listen_at(&a, &s->machine, &s->ours);
}

bool machine_socket_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_uid == b->st_uid &&
	       a->st_gid == b->st_gid && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool machine_socket_stands(const struct machine_socket *s)
{
	struct sockaddr_un a;
	struct stat st;

	return name_ours(&a, s) == 0 && lstat(a.sun_path, &st) == 0 && st.st_dev == s->ours.st_dev &&
	       st.st_ino == s->ours.st_ino;
}

void machine_socket_remove(struct machine_socket *s)
{
	struct sockaddr_un a;

	if (s->fd < 0)
		return;
	if (machine_socket_stands(s) && name_ours(&a, s) == 0) {
		become_owner(&s->machine);
		(void)unlink(a.sun_path);
		become_self();
	}
	(void)close(s->fd);
	s->fd = -ENOENT;
}
