/* SPDX-License-Identifier: Apache-2.0
 * What users type to name an image: registry/repo:tag, registry/repo@sha256:…, oci:DIR[:tag]. A name without
 * a registry means docker.io, as container tools read it. */
#ifndef COCOON_OCI_REFERENCE_H
#define COCOON_OCI_REFERENCE_H

#include "proto/base/digest.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define REFERENCE_TEXT_SIZE 1025 /* the longest text with its NUL: WIRE_MAX_REFERENCE */

struct reference {
	bool layout; /* oci:DIR[:tag]: `path` and perhaps `tag`; else registry, repository, tag or digest */
	char path[880];	      /* layout only */
	char registry[256];   /* host[:port] */
	char repository[256]; /* distribution-spec: [a-z0-9]+([._-][a-z0-9]+)*(/…)* */
	char tag[129];	      /* "" when there is none; registry images without tag and digest get "latest" */
	bool has_digest;
	struct digest digest;
};

/* 0; -EINVAL with words. `text` need not be trusted. */
int reference_parse(struct reference *out, const char *text, struct err *e);

/* registry/repository[:tag][@digest] or oci:path[:tag], NUL-terminated. Returns `text`. */
const char *reference_text(const struct reference *r, char text[static REFERENCE_TEXT_SIZE]);

#endif
