/* SPDX-License-Identifier: Apache-2.0
 * Runs an image and seals it so that this start needs little: what was touched comes first, in one blob. */
#ifndef COCOON_PUBLISHER_OPTIMIZE_H
#define COCOON_PUBLISHER_OPTIMIZE_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "publisher/convert.h"

#include <stdint.h>

struct optimize_options {
	struct convert_options convert; /* of the image that is made; `startup` is NULL */
	char *const *command;		/* instead of the image's own; NULL-terminated, may be empty */
	unsigned period_ms;		/* the program is stopped after this */
};

struct optimize_result {
	struct convert_result convert;
	uint64_t touched_bytes; /* different pages that the program touched, as plaintext */
	uint64_t ahead_bytes;	/* others that the kernel reads ahead of it */
	uint64_t reads;		/* of the kernel, in the second run */
	uint64_t duration_ms;	/* of everything */
};

/* Record a start-up list for the image `o->convert.from`: the image is sealed into a directory that vanishes,
 * under a key that is forgotten, mounted and run twice, first page by page, then as a guest reads. The list
 * is appended to `record`, which holds nothing yet. Root only. 0, or a negative errno with words. */
int optimize_record(const struct optimize_options *o, struct buf *record, struct optimize_result *out,
		    struct err *e);

#endif
