/* SPDX-License-Identifier: Apache-2.0
 * Inodes and names. All names are in one hash table, so that a directory of 100,000 entries costs as little
 * for each as one of ten, and in a list for each directory, which makes every walk a loop: paths may be
 * deeper than a stack. */
#include "publisher/tree.h"

#include "publisher/tree_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 1024u

static uint32_t hash_name(const struct node *dir, const char *text, size_t length)
{
	uint64_t h = (uint64_t)(uintptr_t)dir * 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < length; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001b3u;
	return (uint32_t)(h ^ h >> 32);
}

static void grow(struct tree *t)
{
	size_t n_slots = t->n_slots * 2;
	struct name **names = calloc(n_slots, sizeof(struct name *));

	if (!names)
		return; /* longer chains, nothing worse */
	for (size_t i = 0; i < t->n_slots; i++) {
		for (struct name *n = t->names[i], *chain; n; n = chain) {
			struct name **slot = &names[n->hash & (n_slots - 1)];

			chain = n->chain;
			n->chain = *slot;
			*slot = n;
		}
	}
	free(t->names);
	t->names = names;
	t->n_slots = n_slots;
}

struct name *tree_find(const struct tree *t, const struct node *dir, const char *text, size_t length)
{
	uint32_t hash = hash_name(dir, text, length);
	struct name *n = t->names[hash & (t->n_slots - 1)];

	while (n && (n->hash != hash || n->dir != dir || n->length != length ||
		     memcmp(n->text, text, length) != 0))
		n = n->chain;
	return n;
}

static struct node *new_directory(void)
{
	struct node *n = calloc(1, sizeof(*n));

	if (n)
		n->mode = S_IFDIR | 0755;
	return n;
}

struct name *tree_add(struct tree *t, struct node *dir, const char *text, size_t length, struct node *node,
		      unsigned layer)
{
	struct name *n = malloc(sizeof(*n) + length);
	struct node *made = NULL;
	struct name **slot;

	if (n && !node)
		node = made = new_directory();
	if (!n || !node) {
		free(n);
		return NULL;
	}
	if (t->n_names >= t->n_slots)
		grow(t);
	*n = (struct name){.dir = dir,
			   .node = node,
			   .hash = hash_name(dir, text, length),
			   .layer = (uint8_t)layer,
			   .length = (uint8_t)length};
	memcpy(n->text, text, length);
	if (dir) {
		n->next = dir->dir.first;
		if (n->next)
			n->next->prev = n;
		dir->dir.first = n;
	}
	slot = &t->names[n->hash & (t->n_slots - 1)];
	n->chain = *slot;
	*slot = n;
	if (node_is_dir(node))
		node->dir.self = n;
	if (node->nlink++ == 0)
		t->n_inodes++;
	t->n_names++;
	return n;
}

/* What the inode owns by being of its type. */
static void release(struct node *n)
{
	if (S_ISLNK(n->mode))
		free(n->target);
	else if (S_ISREG(n->mode))
		free(n->sparse);
}

/* One name less; the inode goes with its last one, a directory with the only one that it has. */
static void unlink_node(struct tree *t, struct node *n)
{
	if (!node_is_dir(n) && --n->nlink)
		return;
	t->n_inodes--;
	tree_forget(t, n);
	release(n);
	free(n);
}

void tree_remove(struct tree *t, struct name *n)
{
	struct name **link = &t->names[n->hash & (t->n_slots - 1)];
	struct node *node = n->node;

	while (*link != n)
		link = &(*link)->chain;
	*link = n->chain;
	if (n->prev)
		n->prev->next = n->next;
	else if (n->dir)
		n->dir->dir.first = n->next;
	if (n->next)
		n->next->prev = n->prev;
	free(n);
	t->n_names--;
	unlink_node(t, node);
}

int node_set(struct node *n, const struct node_attr *attr)
{
	char *target = NULL;

	if (attr->target && !(target = strdup(attr->target)))
		return -ENOMEM;
	release(n);
	if (!node_is_dir(n) || !S_ISDIR(attr->mode))
		memset(&n->dir, 0, sizeof(n->dir));
	n->mode = attr->mode;
	n->uid = attr->uid;
	n->gid = attr->gid;
	n->mtime = attr->mtime;
	n->mtime_nsec = attr->mtime_nsec;
	n->xattrs = attr->xattrs;
	n->rdev = attr->rdev;
	if (target) {
		n->target = target;
		n->size = strlen(target);
	}
	return 0;
}

struct name *tree_root(const struct tree *t)
{
	return t->root;
}

struct name *tree_next(const struct name *n)
{
	if (node_is_dir(n->node) && n->node->dir.first)
		return n->node->dir.first;
	while (!n->next) {
		if (!n->dir)
			return NULL;
		n = n->dir->dir.self;
	}
	return n->next;
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = *(struct name *const *)a, *y = *(struct name *const *)b;
	size_t n = x->length < y->length ? x->length : y->length;
	int r = memcmp(x->text, y->text, n);

	return r ? r : (int)x->length - (int)y->length;
}

int tree_sort(struct tree *t)
{
	cleanup_free struct name **list = NULL;
	size_t room = 0;

	for (struct name *at = t->root; at; at = tree_next(at)) {
		struct node *dir = at->node;
		size_t n = 0;

		if (!node_is_dir(dir))
			continue;
		for (struct name *c = dir->dir.first; c; c = c->next)
			n++;
		if (n > room) {
			free(list);
			room = n * 2;
			list = calloc(room, sizeof(struct name *));
			if (!list)
				return -ENOMEM;
		}
		n = 0;
		for (struct name *c = dir->dir.first; c; c = c->next)
			list[n++] = c;
		if (n < 2)
			continue;
		qsort(list, n, sizeof(struct name *), compare_names);
		for (size_t i = 0; i < n; i++) {
			list[i]->prev = i ? list[i - 1] : NULL;
			list[i]->next = i + 1 < n ? list[i + 1] : NULL;
		}
		dir->dir.first = list[0];
	}
	return 0;
}

struct tree_count tree_count(const struct tree *t)
{
	return (struct tree_count){.inodes = t->n_inodes, .names = t->n_names};
}

int tree_new(struct tree **out)
{
	cleanup_tree struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->n_slots = FIRST_SLOTS;
	t->names = calloc(t->n_slots, sizeof(struct name *));
	if (!t->names)
		return -ENOMEM;
	t->root = tree_add(t, NULL, "", 0, NULL, 0);
	if (!t->root)
		return -ENOMEM;
	*out = take_ptr(t);
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	for (size_t i = 0; t->names && i < t->n_slots; i++) {
		for (struct name *n = t->names[i], *chain; n; n = chain) {
			chain = n->chain;
			unlink_node(t, n->node);
			free(n);
		}
	}
	for (size_t i = 0; i < t->n_xattr_slots; i++) {
		for (struct xattr_set *x = t->xattrs[i], *next; x; x = next) {
			next = x->next;
			free(x);
		}
	}
	content_table_deinit(&t->contents);
	free(t->xattrs);
	free(t->names);
	free(t);
}
