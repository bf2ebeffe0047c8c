/* SPDX-License-Identifier: Apache-2.0
 * The filters of List, in containerd's language: a filter is a comma-separated list of selectors that must
 * all hold, and a snapshot is shown when any of the filters holds. A selector is `path`, `path==value`,
 * `path!=value` or `path~=regexp`, where path is name, parent, kind or labels.KEY and each of its parts or
 * the value may be a "quoted string". */
#ifndef COCOON_SNAPSHOTTER_FILTER_H
#define COCOON_SNAPSHOTTER_FILTER_H

#include "proto/base/err.h"
#include "snapshotter/snapshot.h"

#include <stdbool.h>
#include <stddef.h>

struct filter;

/* Parse `n` filters; none at all shows everything. The regular expressions are POSIX extended ones. 0,
 * -EINVAL or -ENOMEM. */
int filter_parse(struct filter **out, char *const *texts, size_t n, struct err *e);
bool filter_shows(const struct filter *f, const struct snapshot *s);
void filter_free(struct filter *f); /* NULL is fine */

#endif
