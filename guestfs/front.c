/* SPDX-License-Identifier: Apache-2.0
 * The end of a front, which is the same for both: the mount goes, the kernel ends the FUSE session when the
 * last user is gone, and the session's end is the front's end. */
#include "guestfs/front_internal.h"
#include "guestfs/kernel_mount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

int front_new(struct front **out, struct image *image, const char *target, struct err *e)
{
	struct front *f = calloc(1, sizeof(*f));

	if (f)
		f->target = strdup(target);
	if (!f || !f->target) {
		free(f);
		return err_set(e, -ENOMEM, "out of memory");
	}
	f->image = image;
	*out = f;
	return 0;
}

void front_free(struct front *f)
{
	free(f->target);
	free(f);
}

int front_ended_fd(const struct front *f)
{
	return f->loop.ended_fd;
}

int front_unmount(struct front *f, bool lazily)
{
	if (!mount_is_at(f->target, f->mount_id))
		return 0;
	return umount2(f->target, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) < 0 ? -errno : 0;
}

void front_close(struct front *f, bool now)
{
	fuse_loop_stop(&f->loop, now);
	front_free(f);
}
