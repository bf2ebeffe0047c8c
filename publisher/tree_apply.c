/* SPDX-License-Identifier: Apache-2.0
 * The operations of a layer on the tree of the layers below it. A tar may hold its entries in any order, a
 * whiteout behind what it must not touch: each name remembers the last layer that had an entry for it. */
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <string.h>

#define WHITEOUT ".wh."
#define WHITEOUT_LENGTH (sizeof(WHITEOUT) - 1)
#define OPAQUE ".wh..wh..opq"
#define AUFS_META                                                                                            \
	".wh..wh." /* aufs' own directories, in images of long ago: nothing of the image is in them */
#define ALL_LAYERS UINT8_MAX

static const struct node_attr implied = {.mode = S_IFDIR | 0755};

/* The first name of the subtree at `n` in an order that has a directory behind its entries. */
static struct name *deepest(struct name *n)
{
	while (node_is_dir(n->node) && n->node->dir.first)
		n = n->node->dir.first;
	return n;
}

void tree_prune(struct tree *t, struct name *top, unsigned layer)
{
	struct name *n = deepest(top);
	bool last;

	do {
		struct name *next = n->next ? n->next : NULL;
		struct name *parent = n->dir ? n->dir->dir.self : NULL;

		last = n == top;
		if (n->layer < layer) {
			if (!node_is_dir(n->node) || !n->node->dir.first) {
				tree_remove(t, n);
			} else {
				(void)node_set(n->node, &implied); /* allocates nothing for a directory */
				n->layer = (uint8_t)layer;
			}
		}
		n = next ? deepest(next) : parent;
	} while (!last);
}

static bool has_prefix(const char *text, size_t length, const char *prefix)
{
	return length >= strlen(prefix) && !memcmp(text, prefix, strlen(prefix));
}

/* The part of the way to an entry that is a whiteout itself, NULL when none is. */
static const char *marked_parent(const struct tree_path *p)
{
	for (size_t i = 0; i < p->parent_length; i++)
		if ((i == 0 || p->parent[i - 1] == '/') &&
		    has_prefix(p->parent + i, p->parent_length - i, WHITEOUT))
			return p->parent + i;
	return NULL;
}

/* The directory that an entry goes to. */
static int find_parent(struct tree *t, unsigned layer, const char *path, struct tree_path *split,
		       struct node **dir, struct err *e)
{
	int r = tree_path_split(split, path, e);

	if (r < 0)
		return r;
	r = tree_walk(t, split->parent, split->parent_length, (int)layer, dir);
	if (r == -ENOTDIR)
		return err_set(e, -EUCLEAN, "%s: a file of this layer stands in the way", path);
	if (r == -ELOOP || r == -ENAMETOOLONG)
		return err_set(e, -EUCLEAN, "%s: its directory is behind too many symlinks", path);
	return r;
}

int tree_put(struct tree *t, unsigned layer, const char *path, const struct node_attr *attr,
	     struct node **out, struct err *e)
{
	struct tree_path split;
	struct node *dir;
	struct name *n;
	int r = find_parent(t, layer, path, &split, &dir, e);

	if (r < 0)
		return r;
	n = split.name ? tree_find(t, dir, split.name, split.name_length) : t->root;
	if (!split.name && !S_ISDIR(attr->mode))
		return err_set(e, -EUCLEAN, "%s: the root is not a directory", path);
	if (n && !(node_is_dir(n->node) && S_ISDIR(attr->mode))) {
		tree_prune(t, n, ALL_LAYERS);
		n = NULL;
	}
	if (!n && !(n = tree_add(t, dir, split.name, split.name_length, NULL, layer)))
		return -ENOMEM;
	n->layer = (uint8_t)layer;
	r = node_set(n->node, attr);
	if (r < 0)
		return r;
	if (S_ISREG(attr->mode) && tree_wants(n))
		n->node->content = CONTENT_WANTED;
	*out = n->node;
	return 0;
}

int tree_link(struct tree *t, unsigned layer, const char *path, const char *target, struct err *e)
{
	struct tree_path split, from;
	struct node *dir, *there;
	struct name *n, *old;
	int r = tree_path_split(&from, target, e);

	if (r == 0)
		r = find_parent(t, layer, path, &split, &dir, e);
	if (r < 0)
		return r;
	r = tree_walk(t, from.parent, from.parent_length, TREE_LOOK, &there);
	if (r == -ENOMEM)
		return r;
	n = r == 0 && from.name ? tree_find(t, there, from.name, from.name_length) : NULL;
	if (!n)
		return err_set(e, -EUCLEAN, "%s: hard link to %s, which does not exist", path, target);
	if (node_is_dir(n->node))
		return err_set(e, -EUCLEAN, "%s: hard link to %s, a directory", path, target);
	if (!split.name)
		return err_set(e, -EUCLEAN, "%s: the root is not a directory", path);
	old = tree_find(t, dir, split.name, split.name_length);
	if (old && old->node == n->node) {
		old->layer = (uint8_t)layer;
		return 0;
	}
	if (!tree_add(t, dir, split.name, split.name_length, n->node, layer))
		return -ENOMEM;
	/* Only now, as the target may be below the old name; tree_find() cannot see the old one any more. */
	if (old)
		tree_prune(t, old, ALL_LAYERS);
	return 0;
}

int tree_whiteout(struct tree *t, unsigned layer, const char *path, struct err *e)
{
	struct tree_path split;
	struct node *dir;
	const char *marked;
	struct name *n;
	int r = tree_path_split(&split, path, e);

	if (r < 0)
		return r;
	marked = marked_parent(&split);
	if (marked && has_prefix(marked, strlen(marked), AUFS_META))
		return TREE_WHITEOUT;
	if (marked)
		return err_set(e, -EUCLEAN, "%s: an entry inside a whiteout", path);
	if (!has_prefix(split.name, split.name_length, WHITEOUT))
		return 0;
	r = tree_walk(t, split.parent, split.parent_length, TREE_LOOK, &dir);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || !node_is_dir(dir))
		dir = NULL; /* nothing to take away */
	if (split.name_length == sizeof(OPAQUE) - 1 && !memcmp(split.name, OPAQUE, split.name_length)) {
		for (struct name *next = dir ? dir->dir.first : NULL; (n = next);) {
			next = n->next;
			tree_prune(t, n, layer);
		}
		return TREE_WHITEOUT;
	}
	split.name += WHITEOUT_LENGTH;
	split.name_length -= WHITEOUT_LENGTH;
	if (!split.name_length || (split.name_length <= 2 && !memcmp(split.name, "..", split.name_length)))
		return err_set(e, -EUCLEAN, "%s: a whiteout of nothing", path);
	n = dir ? tree_find(t, dir, split.name, split.name_length) : NULL;
	if (n)
		tree_prune(t, n, layer);
	return TREE_WHITEOUT;
}
