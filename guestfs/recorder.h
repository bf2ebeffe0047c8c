/* SPDX-License-Identifier: Apache-2.0
 * A mount of an image that notes what is looked up and read through it, for `cocoon optimize`. It is the tree
 * front, which sees names; for trusted machines: the record tells what a workload does. */
#ifndef COCOON_GUESTFS_RECORDER_H
#define COCOON_GUESTFS_RECORDER_H

#include "guestfs/image.h"
#include "proto/base/bytes.h"
#include "proto/base/err.h"

#include <stdint.h>

#define RECORD_MAX (16u << 20) /* bytes of a record */

struct recorder;

struct record_stats {
	uint64_t reads, pages; /* of file contents: requests of the kernel, and the different pages in them */
	uint64_t left_out;     /* things whose names have a tab or a newline: a record cannot tell of them */
};

/* Mount `image` (borrowed) at `target`. The kernel reads up to `read_ahead` bytes where a page is touched:
 * with one page the record has exactly the pages that were touched. Root only; signals are blocked in the
 * threads that are started. 0, or a negative errno with words. */
int recorder_start(struct recorder **out, struct image *image, const char *target, unsigned read_ahead,
		   struct err *e);

/* Unmount, append the record to `to` and free. The record is a start-up list (FORMAT.md §9): each read and
 * each name once, in the order in which they came. 0; -E2BIG when it is over RECORD_MAX; -ENOMEM. */
int recorder_stop(struct recorder *r, struct buf *to, struct record_stats *stats, struct err *e);

#endif
