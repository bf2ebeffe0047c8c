/* SPDX-License-Identifier: Apache-2.0
 * The image policy: which images may be opened at all. The host chooses the name that a guest is asked to
 * mount and what is behind it; the policy comes from whoever owns the guest (measured with it, in the field)
 * and has the last word. Default deny. A JSON document (cocoon-guestfs(8) has the format):
 *
 *   { "version": 1, "images": [ { "digest": "sha256:…", "comment": "…" }, … ] }
 *
 * Strict: a member it does not know is an error, as it may be a condition that has to hold. */
#ifndef COCOON_GUESTFS_POLICY_H
#define COCOON_GUESTFS_POLICY_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define POLICY_MAX_SIZE (1u << 20)
#define POLICY_MAX_IMAGES 4096

struct policy {
	struct digest *images; /* manifests or descriptors */
	size_t n_images;
};

/* 0; -E2BIG over a limit; -ENOTSUP for another version; -EUCLEAN for what is not a policy; -ENOMEM. */
int policy_decode(struct policy *out, const void *json, size_t size, struct err *e);
/* The same from a file; also the errors of open(2) and read(2). */
int policy_read(struct policy *out, const char *path, struct err *e);
void policy_deinit(struct policy *p);

/* Is the image with this manifest and this descriptor allowed? One of the two digests is enough: either says
 * which image it is. 0, or -EACCES with words. Any thread. */
int policy_ask(const struct policy *p, const struct digest *manifest, const struct digest *descriptor,
	       struct err *e);

#endif
