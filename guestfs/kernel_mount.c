/* SPDX-License-Identifier: Apache-2.0
 * System calls of mounting, with the kernel's own words where it has some. */
#include "guestfs/kernel_mount.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the kernel wrote about a failed fsopen() context: "e <words>\n", or nothing. */
static int context_failed(int fs, int code, const char *what, struct err *e)
{
	char words[256];
	ssize_t n = fs < 0 ? -1 : read(fs, words, sizeof(words) - 1);

	if (n <= 2)
		return err_errno(e, code, "mounting %s", what);
	words[n] = '\0';
	words[strcspn(words, "\n")] = '\0';
	return err_errno(e, code, "mounting %s: %s", what, words + 2);
}

static int set_number(int fs, const char *key, unsigned int value)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", value);
	return fsconfig(fs, FSCONFIG_SET_STRING, key, text, 0);
}

int mount_fuse_file(int device, unsigned int max_read, struct err *e)
{
	cleanup_close int fs = fsopen("fuse", FSOPEN_CLOEXEC);
	int fd = -1;

	if (fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "source", "cocoon", 0) == 0 &&
	    set_number(fs, "fd", (unsigned int)device) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_STRING, "rootmode", "100000", 0) == 0 /* S_IFREG, octal */ &&
	    set_number(fs, "user_id", geteuid()) == 0 && set_number(fs, "group_id", getegid()) == 0 &&
	    set_number(fs, "max_read", max_read) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0 &&
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(fs, FSMOUNT_CLOEXEC,
			     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? context_failed(fs, -errno, "fuse", e) : fd;
}

int mount_erofs(const char *source, const struct front_options *options, struct err *e)
{
	unsigned int attributes = MOUNT_ATTR_RDONLY | (options->nosuid ? MOUNT_ATTR_NOSUID : 0) |
				  (options->nodev ? MOUNT_ATTR_NODEV : 0) |
				  (options->noexec ? MOUNT_ATTR_NOEXEC : 0);
	cleanup_close int fs = fsopen("erofs", FSOPEN_CLOEXEC);
	int fd = -1;

	if (fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0 &&
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? context_failed(fs, -errno, "erofs", e) : fd;
}

/* Another process may take the free device first: then the next one. */
int loop_attach(int file, char path[static 32], struct err *e)
{
	struct loop_config config = {
		.fd = (uint32_t)file,
		.block_size = 4096,
		.info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
			 .lo_file_name = "cocoon"},
	};
	cleanup_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (control < 0)
		return err_errno(e, -errno, "/dev/loop-control");
	for (int attempt = 0; attempt < 64; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

		if (number < 0)
			return err_errno(e, -errno, "no free loop device");
		(void)snprintf(path, 32, "/dev/loop%d", number);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_errno(e, -errno, "%s", path);
		if (ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return fd;
		if (errno != EBUSY) {
			int code = -errno;

			(void)close(fd);
			return err_errno(e, code, "%s", path);
		}
		(void)close(fd);
	}
	return err_set(e, -EBUSY, "no free loop device");
}

int mount_attach(int mount, const char *target, uint64_t *id, struct err *e)
{
	struct statx x;

	/* first what may fail, so that no mount is shown that nobody knows as his */
	if (statx(mount, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) < 0)
		return err_errno(e, -errno, "statx of the mount for %s", target);
	if (move_mount(mount, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, -errno, "mounting on %s", target);
	*id = x.stx_mnt_id;
	return 0;
}

int mount_id_at(const char *target, uint64_t *id)
{
	struct statx x;

	if (statx(AT_FDCWD, target, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_MNT_ID,
		  &x) < 0)
		return -errno;
	*id = x.stx_mnt_id;
	return 0;
}

int mount_is_at(const char *target, uint64_t id)
{
	uint64_t now;
	int r = mount_id_at(target, &now);

	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	return r < 0 ? r : now == id;
}
