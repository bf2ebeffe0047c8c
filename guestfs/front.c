/* SPDX-License-Identifier: Apache-2.0
 * Both fronts begin and end alike: a device from the keeper, a session on it, then the mount is shown; the
 * mount goes, the kernel ends the session when the last user is gone, and the session's end is the front's
 * end. */
#include "guestfs/front_internal.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A session on a descriptor that is mounted already. Owned from then on, also on failure. */
static int session_start(struct front *f, int device, const struct fuse_lowlevel_ops *ops, struct err *e)
{
	char *argv[] = {(char[]){"cocoon-guestfs"}, (char[]){"-omax_read=" FUSE_LOOP_MAX_READ_TEXT}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, argv);
	struct fuse_session *session = fuse_session_new(&args, ops, sizeof(*ops), f);
	char name[32];

	fuse_opt_free_args(&args);
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", device);
	if (!session || fuse_session_mount(session, name) < 0) {
		if (session)
			fuse_session_destroy(session);
		(void)close(device);
		return err_set(e, -ENOMEM, "libfuse does not take the session");
	}
	return fuse_loop_start(&f->loop, session, e);
}

static int start_kind(struct front *f, enum front_kind kind, struct err *e)
{
	int device, r = kind == FRONT_TREE ? front_tree_open(f, e) : 0;

	if (r == 0)
		r = keeper_device(f->keeper, kind, &device, e);
	if (r < 0)
		return r;
	r = session_start(f, device, kind == FRONT_TREE ? &front_tree_ops : &front_block_ops, e);
	if (r < 0)
		return r;
	r = keeper_show(f->keeper, &f->kind, e);
	if (r < 0)
		fuse_loop_stop(&f->loop, true);
	return r;
}

/* The tree front is the fallback only where the block front is impossible, not where something went wrong. */
static int start(struct front *f, enum front_kind kind, struct err *e)
{
	int r;

	if (kind != FRONT_AUTO)
		return start_kind(f, kind, e);
	r = start_kind(f, FRONT_BLOCK, e);
	if (r != -ENOTSUP)
		return r;
	log_info("no block front here, so the tree front it is reason=\"%s\"", e ? e->text : "");
	return start_kind(f, FRONT_TREE, e);
}

int front_start(struct front **out, struct image *image, struct keeper *keeper, enum front_kind kind,
		struct err *e)
{
	struct front *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->image = image;
	f->keeper = keeper;
	r = start(f, kind, e);
	if (r < 0) {
		free(f);
		return r;
	}
	*out = f;
	return 0;
}

const char *front_name(const struct front *f)
{
	return f->kind == FRONT_TREE ? "tree" : f->kind == FRONT_LOOP ? "loop" : "block";
}

int front_ended_fd(const struct front *f)
{
	return f->loop.ended_fd;
}

int front_unmount(struct front *f, bool lazily)
{
	return keeper_unmount(f->keeper, lazily);
}

void front_close(struct front *f, bool now)
{
	fuse_loop_stop(&f->loop, now);
	free(f);
}
