/* SPDX-License-Identifier: Apache-2.0
 * Running cocoon-guestfs to mount one image: what it says, and when it must have said it. */
#ifndef COCOON_GUESTFS_PODS_MOUNT_PROGRAM_H
#define COCOON_GUESTFS_PODS_MOUNT_PROGRAM_H

#include "guestfs/deadline.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stddef.h>

#define MOUNT_PROGRAM_OPTIONS 64

struct mount_program {
	const char *path;
	const char *const *options; /* keys, policy, host …; at most MOUNT_PROGRAM_OPTIONS */
	size_t n_options;
};

struct mount_job {
	const char *image, *target;
	int lock;			 /* the program keeps it open as long as it lives */
	const char *log;		 /* file that it writes to */
	const struct deadline *deadline; /* it is killed then; NULL: none but its own */
};

/* Mount, and say which manifest it was (text). 0; what the program failed with, in its words; -ETIMEDOUT;
 * -EIO when it ended without a reason, or found its options invalid. The program ends with this process until
 * the mount is there. Any thread. */
int mount_program_run(const struct mount_program *p, const struct mount_job *job,
		      char manifest[static DIGEST_TEXT_SIZE], struct err *e);

#endif
