/* SPDX-License-Identifier: Apache-2.0
 * The images that are tampered with: a tree of several layers as the publisher lays it out, sealed by the
 * test's own sealer, and its plaintext kept as the reference. A number decides everything, secrets too.
 * Aborts when anything fails. */
#ifndef COCOON_TEST_SPECIMEN_H
#define COCOON_TEST_SPECIMEN_H

#include "seal_fixture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct specimen_shape {
	uint64_t secrets;     /* images of one number have the same keys */
	uint64_t contents;    /* and those of one number here the same tree … */
	unsigned int version; /* … but for every fifth file, where this differs */
	uint32_t n_files, n_layers;
	uint32_t file_blocks; /* of the average file */
	bool noise;	      /* contents do not compress */
	uint32_t cut;
	uint32_t page_extents;
};

struct specimen {
	struct sealed sealed;
	uint8_t *plain; /* owned */
	size_t size, meta_size;
	char config[64];
};

void specimen_make(struct specimen *out, const struct specimen_shape *shape);
void specimen_free(struct specimen *s);

/* Give the index layer of the manifest these annotations: the wrapped key and the descriptor's digest. */
void specimen_annotate(struct specimen *s, const char *jwe, const char *descriptor);

#endif
