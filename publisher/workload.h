/* SPDX-License-Identifier: Apache-2.0
 * An image's program, run as a container would run it, for a while: namespaces of its own (no network but
 * loopback), a writable layer in memory over the image, /proc, /sys, a small /dev and a container's
 * capabilities. It is not a sandbox: who seals an image trusts it. */
#ifndef COCOON_PUBLISHER_WORKLOAD_H
#define COCOON_PUBLISHER_WORKLOAD_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#include <stdint.h>
#include <sys/types.h>

struct workload {
	char **argv, **env; /* owned, NULL-terminated */
	char *directory;    /* owned; where it starts */
	uid_t uid;
	gid_t gid;
};

/* What an OCI config says: Entrypoint and Cmd (or `command`, when it has an element), Env, WorkingDir; `user`
 * is "", UID or UID:GID. 0; -EINVAL when there is no command; -EUCLEAN, -ENOMEM. workload_deinit() it. */
int workload_init(struct workload *out, const struct buf *config, char *const *command, const char *user,
		  struct err *e);
void workload_deinit(struct workload *w);

/* Run it on `image`, a mounted one, for at most period_ms; then it is killed, which is success. `scratch` is
 * an empty directory. Its output goes to stderr. One thread of the process may call; the caller has a mount
 * namespace of its own. 0; -ECHILD with words when it fails before; -EPERM without root. */
int workload_run(const struct workload *w, const char *image, const char *scratch, unsigned period_ms,
		 struct err *e);

#endif
