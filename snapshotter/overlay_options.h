/* SPDX-License-Identifier: Apache-2.0
 * The options of a mount of the kata road, as mount(8) writes them: what is for Kata is dropped, the rest
 * becomes flags and data of mount(2). One thread. */
#ifndef COCOON_SNAPSHOTTER_OVERLAY_OPTIONS_H
#define COCOON_SNAPSHOTTER_OVERLAY_OPTIONS_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

struct overlay_options {
	unsigned long flags; /* MS_… */
	struct buf data;     /* text once overlay_options_end() has returned 0 */
};

void overlay_options_init(struct overlay_options *o);
void overlay_options_deinit(struct overlay_options *o);

/* Take a list, separated by commas. -EINVAL for an option that is not known, so that nothing is mounted in
 * another way than it was asked for. */
int overlay_options_add(struct overlay_options *o, const char *list, struct err *e);
/* There are no more. -EINVAL without a lowerdir=; -E2BIG when mount(2) would cut the data, which may have one
 * page. */
int overlay_options_end(struct overlay_options *o, struct err *e);

#define cleanup_overlay_options __attribute__((cleanup(overlay_options_deinit)))

#endif
