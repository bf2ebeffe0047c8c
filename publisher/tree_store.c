/* SPDX-License-Identifier: Apache-2.0
 * What inodes refer to: sets of extended attributes, of which an image has many equal ones and which are held
 * once, and the content of the few files that the publisher itself wants to read. */
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64u

struct kept_file {
	struct kept_file *next;
	const struct node *node;
	size_t size;
	uint8_t data[];
};

static uint32_t hash_bytes(const uint8_t *p, size_t n)
{
	uint32_t h = 0x811c9dc5u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x01000193u;
	return h;
}

/* Room for one more at one set a slot. */
static int make_room(struct tree *t)
{
	size_t n_slots = t->n_xattr_slots ? t->n_xattr_slots * 2 : FIRST_SLOTS;
	struct xattr_set **slots;

	if (t->n_xattrs < t->n_xattr_slots)
		return 0;
	slots = calloc(n_slots, sizeof(struct xattr_set *));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_xattr_slots; i++) {
		for (struct xattr_set *x = t->xattrs[i], *next; x; x = next) {
			next = x->next;
			x->next = slots[x->hash & (n_slots - 1)];
			slots[x->hash & (n_slots - 1)] = x;
		}
	}
	free(t->xattrs);
	t->xattrs = slots;
	t->n_xattr_slots = n_slots;
	return 0;
}

const struct xattr_set *tree_xattrs(struct tree *t, const void *entries, size_t size)
{
	uint32_t hash = hash_bytes(entries, size);
	struct xattr_set **slot, *x;

	if (make_room(t) < 0)
		return NULL;
	slot = &t->xattrs[hash & (t->n_xattr_slots - 1)];
	for (x = *slot; x; x = x->next)
		if (x->hash == hash && x->size == size && !memcmp(x->entries, entries, size))
			return x;
	x = malloc(sizeof(*x) + size);
	if (!x)
		return NULL;
	*x = (struct xattr_set){.next = *slot, .hash = hash, .size = (uint32_t)size};
	memcpy(x->entries, entries, size);
	*slot = x;
	t->n_xattrs++;
	return x;
}

bool tree_wants(const struct name *n)
{
	const struct name *dir = n->dir ? n->dir->dir.self : NULL;

	return dir && dir->length == 3 && !memcmp(dir->text, "etc", 3) &&
	       ((n->length == 6 && !memcmp(n->text, "passwd", 6)) ||
		(n->length == 5 && !memcmp(n->text, "group", 5)));
}

int tree_keep(struct tree *t, struct node *n, const void *data, size_t size)
{
	struct kept_file *k = malloc(sizeof(*k) + size);

	if (!k)
		return -ENOMEM;
	*k = (struct kept_file){.next = t->kept, .node = n, .size = size};
	if (size)
		memcpy(k->data, data, size);
	t->kept = k;
	n->content = CONTENT_KEPT;
	return 0;
}

void tree_forget(struct tree *t, const struct node *n)
{
	struct kept_file **link = &t->kept, *k;

	if (n->content != CONTENT_KEPT)
		return;
	while ((k = *link) && k->node != n)
		link = &k->next;
	if (k) {
		*link = k->next;
		free(k);
	}
}

int tree_content(struct tree *t, const char *path, const void **data, size_t *size)
{
	struct node *n;
	int r = tree_walk(t, path, strlen(path), TREE_LOOK, &n);

	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	if (!S_ISREG(n->mode))
		return -ENOENT;
	for (const struct kept_file *k = t->kept; k; k = k->next) {
		if (k->node == n) {
			*data = k->data;
			*size = k->size;
			return 0;
		}
	}
	return -ENOTSUP;
}
