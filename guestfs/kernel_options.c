/* SPDX-License-Identifier: Apache-2.0
 * Each option is asked for by the call that would fail without it, and by which error. */
#include "guestfs/kernel_options.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/vm_sockets.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct {
	const char *name, *purpose;
} options[KERNEL_OPTIONS] = {
	[KERNEL_FUSE] = {"CONFIG_FUSE_FS", "every mount"},
	[KERNEL_EROFS] = {"CONFIG_EROFS_FS", "the fronts block and loop; without it there is only tree"},
	[KERNEL_EROFS_FILE] = {"CONFIG_EROFS_FS_BACKED_BY_FILE",
			       "the front block without a loop device (Linux 6.12)"},
	[KERNEL_LOOP] = {"CONFIG_BLK_DEV_LOOP", "the front loop, and block where EROFS takes no file"},
	[KERNEL_OVERLAY] = {"CONFIG_OVERLAY_FS", "a container's writable layer"},
	[KERNEL_TMPFS_XATTR] = {"CONFIG_TMPFS_XATTR", "a writable layer in memory"},
	[KERNEL_VSOCK] = {"CONFIG_VSOCKETS", "a host at vsock:CID:PORT"},
	[KERNEL_VIRTIO_VSOCK] = {"CONFIG_VIRTIO_VSOCKETS", "the host of this virtual machine, CID 2"},
	[KERNEL_SECCOMP] = {"CONFIG_SECCOMP_FILTER", "fewer system calls for the process with the keys"},
	[KERNEL_LANDLOCK] = {"CONFIG_SECURITY_LANDLOCK",
			     "no files for the process with the keys (also as lsm=landlock,...)"},
};

static enum kernel_answer has_filesystem(const char *name)
{
	cleanup_close int fs = fsopen(name, FSOPEN_CLOEXEC);

	return fs >= 0 ? KERNEL_HAS : errno == ENODEV ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

static enum kernel_answer has_device(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return KERNEL_HAS;
	return errno == ENOENT || errno == ENODEV || errno == ENXIO ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

/* A file that is everywhere, has pages and is no EROFS: it is refused for what is in it, or for being a file.
 */
static enum kernel_answer takes_files(void)
{
	cleanup_close int fs = fsopen("erofs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return errno == ENODEV ? KERNEL_LACKS : KERNEL_UNKNOWN;
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", "/sys/kernel/uevent_seqnum", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		return KERNEL_UNKNOWN;
	return errno == EINVAL ? KERNEL_HAS : errno == ENOTBLK ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

/* Where overlayfs keeps its marks. */
static enum kernel_answer has_trusted_xattrs(void)
{
	cleanup_close int fd = memfd_create("cocoon-kernel", MFD_CLOEXEC);

	if (fd < 0)
		return KERNEL_UNKNOWN;
	if (fsetxattr(fd, "trusted.overlay.cocoon", "y", 1, 0) == 0)
		return KERNEL_HAS;
	return errno == EOPNOTSUPP ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

static enum kernel_answer has_vsock(void)
{
	cleanup_close int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 ? KERNEL_HAS : errno == EAFNOSUPPORT ? KERNEL_LACKS : KERNEL_UNKNOWN;
}

/* Without a transport to the host, or without its device, this machine has no CID. */
static enum kernel_answer has_cid(void)
{
	cleanup_close int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	unsigned int cid;

	if (fd < 0)
		return has_device("/dev/vsock");
	if (ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		return KERNEL_UNKNOWN;
	return cid == VMADDR_CID_ANY ? KERNEL_LACKS : KERNEL_HAS;
}

static enum kernel_answer has_seccomp(void)
{
	const unsigned int action = SECCOMP_RET_ERRNO;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 ? KERNEL_HAS : KERNEL_LACKS;
}

static enum kernel_answer has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0
		       ? KERNEL_HAS
		       : KERNEL_LACKS;
}

enum kernel_answer kernel_ask(enum kernel_option o)
{
	switch (o) {
	case KERNEL_FUSE:
		return has_filesystem("fuse");
	case KERNEL_EROFS:
		return has_filesystem("erofs");
	case KERNEL_EROFS_FILE:
		return takes_files();
	case KERNEL_LOOP:
		return has_device("/dev/loop-control");
	case KERNEL_OVERLAY:
		return has_filesystem("overlay");
	case KERNEL_TMPFS_XATTR:
		return has_trusted_xattrs();
	case KERNEL_VSOCK:
		return has_vsock();
	case KERNEL_VIRTIO_VSOCK:
		return has_cid();
	case KERNEL_SECCOMP:
		return has_seccomp();
	case KERNEL_LANDLOCK:
		return has_landlock();
	case KERNEL_OPTIONS:
		break;
	}
	return KERNEL_UNKNOWN;
}

const char *kernel_option_name(enum kernel_option o)
{
	return options[o].name;
}

const char *kernel_option_purpose(enum kernel_option o)
{
	return options[o].purpose;
}

static bool is_vsock(const struct address *a)
{
	return a && a->sa.sa_family == AF_VSOCK;
}

static bool is_the_host(const struct address *a)
{
	struct sockaddr_vm vm;

	if (!is_vsock(a))
		return false;
	memcpy(&vm, &a->storage, sizeof(vm));
	return vm.svm_cid == VMADDR_CID_HOST;
}

bool kernel_option_is_needed(enum kernel_option o, const struct kernel_use *use,
			     enum kernel_answer (*ask)(enum kernel_option))
{
	switch (o) {
	case KERNEL_FUSE:
		return true;
	case KERNEL_EROFS:
		return use->front == FRONT_BLOCK || use->front == FRONT_LOOP;
	case KERNEL_LOOP:
		return use->front == FRONT_LOOP ||
		       (use->front == FRONT_BLOCK && ask(KERNEL_EROFS_FILE) == KERNEL_LACKS);
	case KERNEL_OVERLAY:
	case KERNEL_TMPFS_XATTR:
		return use->pods;
	case KERNEL_VSOCK:
		return is_vsock(use->host);
	case KERNEL_VIRTIO_VSOCK:
		return is_the_host(use->host);
	case KERNEL_EROFS_FILE:
	case KERNEL_SECCOMP:
	case KERNEL_LANDLOCK:
	case KERNEL_OPTIONS:
		break;
	}
	return false;
}

int kernel_options_check(const struct kernel_use *use, enum kernel_answer (*ask)(enum kernel_option),
			 struct err *e)
{
	char words[ERR_TEXT_MAX] = "";
	size_t n = 0;

	for (enum kernel_option o = 0; o < KERNEL_OPTIONS; o++) {
		/* never needed by itself, and the question costs a line in the kernel's log */
		if (o == KERNEL_EROFS_FILE || ask(o) != KERNEL_LACKS || !kernel_option_is_needed(o, use, ask))
			continue;
		n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%s (for %s)", n ? ", " : "",
				      options[o].name, options[o].purpose);
		if (n >= sizeof(words))
			n = sizeof(words) - 1;
	}
	return n ? err_set(e, -ENOTSUP, "this kernel lacks %s", words) : 0;
}
