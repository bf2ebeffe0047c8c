/* SPDX-License-Identifier: Apache-2.0
 * Which manifest a reference meant when the registry was asked last. Kept as a text file beside each image
 * ("SECONDS REFERENCE" a line), so that it outlives a restart. Internal to the image store, which locks. */
#ifndef COCOON_CHUNKSTORE_IMAGE_NAMES_H
#define COCOON_CHUNKSTORE_IMAGE_NAMES_H

#include "proto/base/bytes.h"
#include "proto/base/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_IMAGE_NAMES 1024u
#define MAX_NAMES_FILE (64u << 10)

struct image_name {
	char *text; /* owned; NULL: unused */
	struct digest manifest;
	bool sealed;
	int64_t asked_ms; /* monotonic; 0: in an earlier life */
	int64_t seconds;  /* since 1970 */
};

struct image_names {
	struct image_name all[MAX_IMAGE_NAMES];
};

void image_names_deinit(struct image_names *n);

/* NULL: never heard of. */
const struct image_name *image_names_find(const struct image_names *n, const char *text);

/* The name means this manifest now. True when that is news. Forgets the oldest when there are too many. */
bool image_names_learn(struct image_names *n, const char *text, const struct digest *manifest, bool sealed);

void image_names_forget(struct image_names *n, const struct digest *manifest);

/* All names of one image as its file holds them, and back. Of two files that claim a name the later line
 * counts. */
void image_names_encode(const struct image_names *n, const struct digest *manifest, struct buf *to);
void image_names_decode(struct image_names *n, const struct digest *manifest, const char *text, size_t size);

#endif
