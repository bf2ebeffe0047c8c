/* SPDX-License-Identifier: Apache-2.0
 * A sorted array: a snapshot has few labels, and a sorted answer is the same answer every time. */
#include "snapshotter/labels.h"

#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* The place of `key`, or where it belongs. */
static size_t find(const struct labels *l, const char *key, bool *there)
{
	size_t low = 0, high = l->n;

	*there = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(key, l->items[middle].key);

		if (order == 0) {
			*there = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int labels_set(struct labels *l, const char *key, const char *value, struct err *e)
{
	cleanup_free char *k = NULL, *v = NULL;
	struct label *grown;
	bool there;
	size_t at;

	if (!*key)
		return err_set(e, -EINVAL, "a label without a key");
	if (strlen(key) + strlen(value) > LABEL_MAX_SIZE)
		return err_set(e, -EINVAL, "label %.64s: key and value are over %u bytes", key,
			       LABEL_MAX_SIZE);
	at = find(l, key, &there);
	v = strdup(value);
	if (!v)
		return -ENOMEM;
	if (there) {
		free(l->items[at].value);
		l->items[at].value = take_ptr(v);
		return 0;
	}
	k = strdup(key);
	grown = k ? reallocarray(l->items, l->n + 1, sizeof(*grown)) : NULL;
	if (!grown)
		return -ENOMEM;
	l->items = grown;
	memmove(grown + at + 1, grown + at, (l->n - at) * sizeof(*grown));
	grown[at] = (struct label){take_ptr(k), take_ptr(v)};
	l->n++;
	return 0;
}

void labels_remove(struct labels *l, const char *key)
{
	bool there;
	size_t at = find(l, key, &there);

	if (!there)
		return;
	free(l->items[at].key);
	free(l->items[at].value);
	l->n--;
	memmove(l->items + at, l->items + at + 1, (l->n - at) * sizeof(*l->items));
}

const char *labels_get(const struct labels *l, const char *key)
{
	bool there;
	size_t at = find(l, key, &there);

	return there ? l->items[at].value : NULL;
}

int labels_copy(struct labels *to, const struct labels *from)
{
	for (size_t i = 0; i < from->n; i++) {
		int r = labels_set(to, from->items[i].key, from->items[i].value, NULL);

		if (r < 0)
			return r;
	}
	return 0;
}

void labels_deinit(struct labels *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->items[i].key);
		free(l->items[i].value);
	}
	free(l->items);
	*l = (struct labels){0};
}
