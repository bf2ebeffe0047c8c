/* SPDX-License-Identifier: Apache-2.0
 * What containerd is told to mount for a snapshot: one entry as mount(8) takes it. */
#ifndef COCOON_SNAPSHOTTER_MOUNT_H
#define COCOON_SNAPSHOTTER_MOUNT_H

#include <stddef.h>

#define MOUNT_MAX_OPTIONS 8u

struct mount {
	const char *type;		  /* static */
	char *source;			  /* owned */
	char *options[MOUNT_MAX_OPTIONS]; /* owned */
	size_t n_options;
};

/* Both: 0 or -ENOMEM. `type` is static, the others are copied. */
int mount_set(struct mount *m, const char *type, const char *source);
int mount_option(struct mount *m, const char *option);
void mount_deinit(struct mount *m);

#define cleanup_mount __attribute__((cleanup(mount_deinit)))

#endif
