/* SPDX-License-Identifier: Apache-2.0
 * The start-up list as a publisher writes it, or as `cocoon optimize` records it: text, one line for each
 * thing that the workload reads, in that order. See FORMAT.md §9 for its grammar. */
#ifndef COCOON_PUBLISHER_STARTUP_LIST_H
#define COCOON_PUBLISHER_STARTUP_LIST_H

#include "proto/base/err.h"
#include "publisher/erofs_writer.h"

#include <stddef.h>
#include <stdint.h>

#define STARTUP_LIST_MAX (16u << 20) /* bytes of a list */

struct startup_line {
	const char *path; /* not NUL-terminated; length 0: a part of the list ends here */
	size_t length;
	uint64_t first,
		end; /* blocks of the file; [0, UINT64_MAX) for a path alone, empty when first == end */
};

enum { STARTUP_LINE, STARTUP_END };

/* The line at *text; *text and *size move behind it. STARTUP_LINE, STARTUP_END, or -EINVAL with words. */
int startup_line_next(const char **text, size_t *size, struct startup_line *out, struct err *e);

/* What reading the list takes of an image whose start-up data was placed (publisher/startup_place.h): blocks
 * of the image, the superblock first, some more than once. *blocks is malloc'ed. Paths that the image does
 * not have are counted in *unknown; what is on the way to them is read all the same. 0, -EINVAL, -ENOMEM. */
int startup_list_blocks(uint32_t **blocks, size_t *n, size_t *unknown, const char *text, size_t size,
			const struct erofs_plan *plan, uint64_t n_placed, struct err *e);

#endif
