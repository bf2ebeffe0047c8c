/* SPDX-License-Identifier: Apache-2.0
 * The labels of a snapshot: text keys with text values, each key once, sorted by key. containerd bounds a key
 * and its value together to 4096 bytes; so do we. A struct belongs to one thread. */
#ifndef COCOON_SNAPSHOTTER_LABELS_H
#define COCOON_SNAPSHOTTER_LABELS_H

#include "proto/base/err.h"

#include <stddef.h>

#define LABEL_MAX_SIZE 4096u /* key and value together */

struct label {
	char *key, *value; /* owned */
};

struct labels {
	size_t n;
	struct label *items; /* owned */
};

/* Set `key`, replacing an earlier value. -EINVAL for an empty key or one that is too long with its value;
 * -ENOMEM. */
int labels_set(struct labels *l, const char *key, const char *value, struct err *e);
void labels_remove(struct labels *l, const char *key);
/* The value, borrowed, or NULL. */
const char *labels_get(const struct labels *l, const char *key);
/* Append copies to `to`. 0 or -ENOMEM. */
int labels_copy(struct labels *to, const struct labels *from);
/* Frees; the struct is empty then and may be used again. */
void labels_deinit(struct labels *l);

#define cleanup_labels __attribute__((cleanup(labels_deinit)))

#endif
