/* SPDX-License-Identifier: Apache-2.0
 * The command line of cocoon-guestfs, and of the same program as mount.cocoon, which mount(8) calls. */
#ifndef COCOON_GUESTFS_OPTIONS_H
#define COCOON_GUESTFS_OPTIONS_H

#include "guestfs/front.h"
#include "guestfs/key_spec.h"
#include "guestfs/policy.h"
#include "proto/base/err.h"
#include "proto/base/log.h"
#include "proto/oci/reference.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit codes: those of mount(8). */
enum { EXIT_GOOD = 0, EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

struct options {
	struct reference image;
	char *target; /* owned, canonical */
	struct key_specs keys;
	const char *host;
	char *host_owned; /* NULL, or where `host` is */
	const char *tls_identity;
	struct front_options front;
	bool has_digest;
	struct digest digest; /* of the manifest or of the descriptor */
	bool has_policy;
	struct policy policy; /* owned */
	size_t cache_bytes;   /* 0: the reader's default */
	unsigned int timeout_ms, wait_ms;
	bool foreground, print_manifest;
	enum log_level log_level;
};

enum { OPTIONS_DONE = 1 };

/* Also reads the policy's file. 0; OPTIONS_DONE when --help or --version was answered; a negative errno with
 * words. argv is borrowed for ever. */
int options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_deinit(struct options *o);

/* "auto", "block", "loop" or "tree". 0; -EINVAL with words. */
int options_front(enum front_kind *out, const char *text, struct err *e);

#endif
