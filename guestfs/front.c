/* SPDX-License-Identifier: Apache-2.0
 * The end of a front, which is the same for both: the mount goes, the kernel ends the FUSE session when the
 * last user is gone, and the session's end is the front's end. */
#include "guestfs/front_internal.h"
#include "guestfs/kernel_mount.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static void front_free(struct front *f)
{
	free(f->target);
	free(f);
}

/* The tree front is the fallback only where the block front is impossible, not where something went wrong. */
static int start(struct front *f, struct err *e)
{
	int r;

	if (f->options.kind == FRONT_TREE)
		return front_tree_start(f, e);
	r = front_block_start(f, e);
	if (r != -ENOTSUP || f->options.kind != FRONT_AUTO)
		return r;
	log_info("no block front here, so the tree front it is reason=\"%s\"", e ? e->text : "");
	return front_tree_start(f, e);
}

int front_start(struct front **out, struct image *image, const char *target,
		const struct front_options *options, struct err *e)
{
	struct front *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->image = image;
	f->options = *options;
	f->target = strdup(target);
	r = f->target ? start(f, e) : err_set(e, -ENOMEM, "out of memory");
	if (r < 0) {
		front_free(f);
		return r;
	}
	*out = f;
	return 0;
}

const char *front_name(const struct front *f)
{
	return f->name;
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
