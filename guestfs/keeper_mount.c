/* SPDX-License-Identifier: Apache-2.0
 * The block front's FUSE mount is never shown anywhere; the kernel's EROFS is mounted on its one file,
 * directly or over a loop device, and only that appears. So one umount takes everything down, in the only
 * order there is. The tree front's mount is libfuse's, which knows how to make one without root. */
#include "guestfs/keeper_mount.h"
#include "guestfs/fuse_loop.h"
#include "guestfs/kernel_mount.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ASK_AGAIN_MS 20
#define ASK_TIMES 50

extern char **environ;

/* What this kernel or this user cannot do, told apart from what went wrong. */
static int impossible(int r)
{
	return r == -ENODEV || r == -EPERM || r == -EACCES || r == -ENOSYS ? -ENOTSUP : r;
}

static int block_device(struct keeper_mount *m, int *out, struct err *e)
{
	cleanup_close int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (device < 0)
		return impossible(err_errno(e, -errno, "/dev/fuse"));
	m->fuse_mount = mount_fuse_file(device, FUSE_LOOP_MAX_READ, e);
	if (m->fuse_mount < 0)
		return impossible(m->fuse_mount);
	*out = take_fd(&device);
	return 0;
}

/* As root the mount is like one of any image: for everyone, with devices and setuid. Otherwise it is the
 * user's own. */
static int add_options(struct fuse_args *args, const struct front_options *o)
{
	int r = fuse_opt_add_arg(args, "cocoon-guestfs");

	if (r == 0)
		r = fuse_opt_add_arg(args,
				     "-oro,default_permissions,fsname=cocoon,subtype=cocoon,max_read=" //
				     FUSE_LOOP_MAX_READ_TEXT);
	if (r == 0 && geteuid() == 0)
		r = fuse_opt_add_arg(args, "-oallow_other");
	if (r == 0)
		r = fuse_opt_add_arg(args, o->nosuid || geteuid() != 0 ? "-onosuid" : "-osuid");
	if (r == 0)
		r = fuse_opt_add_arg(args, o->nodev || geteuid() != 0 ? "-onodev" : "-odev");
	if (r == 0 && o->noexec)
		r = fuse_opt_add_arg(args, "-onoexec");
	return r;
}

/* A session of libfuse only for its mount: another process serves it. */
static int tree_device(struct keeper_mount *m, int *out, struct err *e)
{
	static const struct fuse_lowlevel_ops none = {0};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	int r = 0;

	if (add_options(&args, m->options) == 0)
		session = fuse_session_new(&args, &none, sizeof(none), NULL);
	fuse_opt_free_args(&args);
	if (!session)
		return err_set(e, -ENOMEM, "libfuse does not make a session");
	if (fuse_session_mount(session, m->target) < 0)
		r = err_set(e, -EIO, "mounting FUSE on %s failed", m->target);
	if (r == 0) {
		r = mount_id_at(m->target, &m->mount_id);
		*out = fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 0);
		if (r == 0 && *out < 0)
			r = -errno;
		if (r < 0) {
			(void)err_errno(e, r, "the mount at %s", m->target);
			fuse_session_unmount(session);
		}
	}
	fuse_session_destroy(session); /* closes its descriptor, and leaves the mount */
	return r;
}

int keeper_mount_device(struct keeper_mount *m, enum front_kind kind, int *device, struct err *e)
{
	if (m->fuse_mount >= 0)
		(void)close(m->fuse_mount);
	m->fuse_mount = -1;
	m->kind = kind;
	return kind == FRONT_TREE ? tree_device(m, device, e) : block_device(m, device, e);
}

/* Over a loop device, for kernels that want a block device. */
static int erofs_on_loop(struct keeper_mount *m, const char *image, struct err *e)
{
	cleanup_close int file = open(image, O_RDONLY | O_CLOEXEC), loop = -1;
	char path[32];

	if (file < 0)
		return err_errno(e, -errno, "opening the image");
	m->kind = FRONT_LOOP;
	loop = loop_attach(file, path, e);
	return loop < 0 ? loop : mount_erofs(path, m->options, e);
}

static int erofs_on_file(struct keeper_mount *m, struct err *e)
{
	char image[64];
	struct stat st;
	int fd;

	/* the kernel must know the size: it reads nothing of a file that it believes to be empty */
	if (fstat(m->fuse_mount, &st) < 0)
		return err_errno(e, -errno, "the image as a file");
	(void)snprintf(image, sizeof(image), "/proc/self/fd/%d", m->fuse_mount);
	if (m->kind == FRONT_LOOP)
		return erofs_on_loop(m, image, e);
	fd = mount_erofs(image, m->options, e);
	return fd == -ENOTBLK ? erofs_on_loop(m, image, e) : fd;
}

static int show_block(struct keeper_mount *m, struct err *e)
{
	cleanup_close int erofs_mount = erofs_on_file(m, e);
	int r = erofs_mount < 0 ? erofs_mount : mount_attach(erofs_mount, m->target, &m->mount_id, e);

	(void)close(m->fuse_mount); /* EROFS holds it from now on, or nobody does */
	m->fuse_mount = -1;
	return impossible(r);
}

int keeper_mount_show(struct keeper_mount *m, enum front_kind *kind, struct err *e)
{
	int r = 0; /* the tree front's mount is there already */

	if (m->kind != FRONT_TREE)
		r = m->fuse_mount >= 0 ? show_block(m, e) : err_set(e, -EINVAL, "there is no device");
	*kind = m->kind;
	return r;
}

/* Who is not root mounted by fusermount3(1), and unmounts by it. */
static int unmount_as_user(char *target, bool lazily)
{
	char *argv[] = {(char[]){"fusermount3"}, lazily ? (char[]){"-uqz"} : (char[]){"-uq"}, (char[]){"--"},
			target, NULL};
	pid_t pid;
	int status, r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return status == 0 ? 0 : -EBUSY;
}

/* A moment without memory must not leave a mount that nobody serves. */
static int is_ours(const struct keeper_mount *m)
{
	static const struct timespec pause = {.tv_nsec = ASK_AGAIN_MS * 1000000L};
	int r = mount_is_at(m->target, m->mount_id);

	for (int times = 0; r < 0 && times < ASK_TIMES; times++) {
		(void)nanosleep(&pause, NULL);
		r = mount_is_at(m->target, m->mount_id);
	}
	return r;
}

int keeper_mount_unmount(struct keeper_mount *m, bool lazily)
{
	int r = is_ours(m);

	if (r <= 0)
		return r;
	if (geteuid() != 0)
		return unmount_as_user(m->target, lazily);
	return umount2(m->target, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) < 0 ? -errno : 0;
}
