/* SPDX-License-Identifier: Apache-2.0
 * What the running kernel must have been built with. It is asked by using it, not by reading its
 * configuration, which may be missing and does not know which modules can be loaded. */
#ifndef COCOON_GUESTFS_KERNEL_OPTIONS_H
#define COCOON_GUESTFS_KERNEL_OPTIONS_H

#include "guestfs/front.h"
#include "proto/base/err.h"
#include "proto/wire/address.h"

#include <stdbool.h>

enum kernel_option {
	KERNEL_FUSE,
	KERNEL_EROFS,
	KERNEL_EROFS_FILE,
	KERNEL_LOOP,
	KERNEL_OVERLAY,
	KERNEL_TMPFS_XATTR,
	KERNEL_VSOCK,
	KERNEL_VIRTIO_VSOCK,
	KERNEL_SECCOMP,
	KERNEL_LANDLOCK,
	KERNEL_OPTIONS, /* how many there are */
};

enum kernel_answer {
	KERNEL_HAS,
	KERNEL_LACKS,
	KERNEL_UNKNOWN, /* this user may not ask */
};

/* What this program is about to do. */
struct kernel_use {
	enum front_kind front;
	const struct address *host; /* borrowed; NULL: it connects to none */
	bool pods;		    /* it is `serve` */
};

/* Asks the kernel; modules may be loaded by that. Any thread, before privileges are dropped. */
enum kernel_answer kernel_ask(enum kernel_option o);

/* "CONFIG_FUSE_FS", and in a few words what it is for. */
const char *kernel_option_name(enum kernel_option o);
const char *kernel_option_purpose(enum kernel_option o);

/* Whether nothing goes without it; otherwise less is had without it. `ask` is kernel_ask(), or a test's. */
bool kernel_option_is_needed(enum kernel_option o, const struct kernel_use *use,
			     enum kernel_answer (*ask)(enum kernel_option));

/* 0; -ENOTSUP with the name of each needed option that the kernel lacks, and what it is for. Where the answer
 * is unknown, the use itself will tell. */
int kernel_options_check(const struct kernel_use *use, enum kernel_answer (*ask)(enum kernel_option),
			 struct err *e);

#endif
