/* SPDX-License-Identifier: Apache-2.0
 * Bind under a umask that gives the socket its mode from the first moment; a stale socket is removed only by
 * the one who holds the lock. */
#include "snapshotter/unix_listener.h"

#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#define BACKLOG 128

/* 1 and a descriptor when systemd gave one. */
static int from_systemd(int *fd, struct err *e)
{
	int n = sd_listen_fds(1);

	if (n <= 0)
		return 0;
	if (n > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0)
		return err_set(e, -EINVAL,
			       "systemd gave %d sockets; one listening unix stream socket is expected", n);
	*fd = SD_LISTEN_FDS_START;
	return 1;
}

static int make_parent(const char *path, struct err *e)
{
	cleanup_free char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!parent)
		return -ENOMEM;
	if (!slash || slash == parent)
		return 0;
	*slash = '\0';
	return make_directories(parent, e);
}

static int take_lock(const char *path, int *out, struct err *e)
{
	cleanup_free char *name = NULL;
	cleanup_close int fd = -1;

	if (asprintf(&name, "%s.lock", path) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "%s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EADDRINUSE, "%s: another process serves it", path);
	*out = take_fd(&fd);
	return 0;
}

static int bind_and_listen(const char *path, unsigned mode, int *out, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	mode_t before;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "socket");
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s is there and is no socket", path);
	(void)unlink(path);
	before = umask(0777 & ~mode);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(before);
	if (r < 0)
		return err_errno(e, r, "%s", path);
	if (listen(fd, BACKLOG) < 0)
		return err_errno(e, -errno, "%s", path);
	*out = take_fd(&fd);
	return 0;
}

int unix_listener_open(struct unix_listener *out, const char *path, unsigned mode, struct err *e)
{
	struct unix_listener l = {.fd = -1, .lock = -1};
	int r = from_systemd(&l.fd, e);

	if (r == 0) {
		if (*path != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return err_set(e, -EINVAL, "%.128s is not an absolute path of at most 107 bytes",
				       path);
		r = make_parent(path, e);
		if (r == 0)
			r = take_lock(path, &l.lock, e);
		if (r == 0)
			r = bind_and_listen(path, mode, &l.fd, e);
		if (r == 0 && !(l.path = strdup(path))) /* from here on the file is ours to remove */
			r = -ENOMEM;
	}
	if (r < 0) {
		unix_listener_close(&l);
		return r;
	}
	*out = l;
	return 0;
}

void unix_listener_close(struct unix_listener *l)
{
	if (l->path)
		(void)unlink(l->path);
	free(l->path);
	if (l->fd >= 0)
		(void)close(l->fd);
	if (l->lock >= 0)
		(void)close(l->lock);
	*l = (struct unix_listener){.fd = -1, .lock = -1};
}
