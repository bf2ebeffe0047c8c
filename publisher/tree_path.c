/* SPDX-License-Identifier: Apache-2.0
 * The way to a name. A layer's tar is written by others: its paths are checked part by part, and symlinks on
 * the way are followed as in a chroot of the tree, where ".." of the root is the root. So lib/x reaches
 * usr/lib/x in an image whose /lib is a symlink, and nothing reaches outside. */
#include "proto/base/cleanup.h"
#include "publisher/tree_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parts {
	const char *at;
	size_t left;
};

/* The next part that says something; false at the end. "." and empty parts say nothing. */
static bool parts_next(struct parts *p, const char **part, size_t *length)
{
	do {
		size_t n = 0;

		while (p->left && *p->at == '/') {
			p->at++;
			p->left--;
		}
		if (!p->left)
			return false;
		while (n < p->left && p->at[n] != '/')
			n++;
		*part = p->at;
		*length = n;
		p->at += n;
		p->left -= n;
	} while (*length == 1 && **part == '.');
	return true;
}

static bool is_parent(const char *part, size_t length)
{
	return length == 2 && part[0] == '.' && part[1] == '.';
}

int tree_path_split(struct tree_path *out, const char *path, struct err *e)
{
	struct parts p = {path, strlen(path)};
	struct tree_path split = {.parent = path};
	const char *part;
	size_t length;

	if (!p.left)
		return err_set(e, -EUCLEAN, "an entry has no name");
	if (p.left > TREE_MAX_PATH)
		return err_set(e, -EUCLEAN, "a path of %zu bytes; %u are allowed", p.left, TREE_MAX_PATH);
	while (parts_next(&p, &part, &length)) {
		if (is_parent(part, length))
			return err_set(e, -EUCLEAN, "%s: \"..\" in a path", path);
		if (length > TREE_MAX_NAME)
			return err_set(e, -EUCLEAN, "%s: a name of %zu bytes; %u are allowed", path, length,
				       TREE_MAX_NAME);
		split.name = part;
		split.name_length = length;
	}
	if (split.name)
		split.parent_length = (size_t)(split.name - path);
	*out = split;
	return 0;
}

/* What is still to be walked: part of the caller's path, or `text`, which symlinks have rewritten. */
struct walk {
	struct parts parts;
	char *text; /* owned */
	unsigned symlinks;
	tree_visitor *visit; /* may be NULL */
	void *arg;
};

static void visit(const struct walk *w, const struct node *n)
{
	if (w->visit)
		w->visit(w->arg, n);
}

/* The symlink's target goes in front of what is left. */
static int follow(struct walk *w, const char *target)
{
	size_t n = strlen(target), total = n + 1 + w->parts.left;
	char *text;

	if (++w->symlinks > TREE_MAX_SYMLINKS)
		return -ELOOP;
	if (total > TREE_MAX_PATH)
		return -ENAMETOOLONG;
	text = malloc(total);
	if (!text)
		return -ENOMEM;
	memcpy(text, target, n);
	text[n] = '/';
	memcpy(text + n + 1, w->parts.at, w->parts.left);
	free(w->text);
	w->text = text;
	w->parts = (struct parts){text, total};
	return 0;
}

/* A file of a lower layer stands where `layer` wants a directory. */
static int make_directory_of(struct tree *t, struct name **n, unsigned layer)
{
	struct name *old = *n;
	struct node *dir = old->dir;
	char text[TREE_MAX_NAME];
	size_t length = old->length;

	if (old->layer >= layer)
		return -ENOTDIR;
	memcpy(text, old->text, length);
	tree_remove(t, old);
	*n = tree_add(t, dir, text, length, NULL, layer);
	return *n ? 0 : -ENOMEM;
}

static int walk(struct tree *t, struct walk *w, int layer, struct node **out)
{
	struct node *dir = t->root->node;
	const char *part;
	size_t length;

	visit(w, dir);
	while (parts_next(&w->parts, &part, &length)) {
		struct name *n;
		int r;

		if (is_parent(part, length)) {
			if (dir->dir.self->dir)
				dir = dir->dir.self->dir;
			continue;
		}
		if (length > TREE_MAX_NAME)
			return -ENAMETOOLONG;
		n = tree_find(t, dir, part, length);
		if (!n && layer == TREE_LOOK)
			return -ENOENT;
		if (!n && !(n = tree_add(t, dir, part, length, NULL, (unsigned)layer)))
			return -ENOMEM;
		visit(w, n->node);
		if (S_ISLNK(n->node->mode)) {
			if (*n->node->target == '/')
				dir = t->root->node;
			r = follow(w, n->node->target);
			if (r < 0)
				return r;
			continue;
		}
		if (!node_is_dir(n->node)) {
			if (layer == TREE_LOOK) {
				*out = n->node;
				return parts_next(&w->parts, &part, &length) ? -ENOTDIR : 0;
			}
			r = make_directory_of(t, &n, (unsigned)layer);
			if (r < 0)
				return r;
		}
		dir = n->node;
	}
	*out = dir;
	return 0;
}

int tree_walk(struct tree *t, const char *path, size_t length, int layer, struct node **out)
{
	struct walk w = {.parts = {path, length}};
	int r = walk(t, &w, layer, out);

	free(w.text);
	return r;
}

int tree_visit(struct tree *t, const char *path, size_t length, tree_visitor *visitor, void *arg)
{
	struct walk w = {.parts = {path, length}, .visit = visitor, .arg = arg};
	struct node *end;
	int r = walk(t, &w, TREE_LOOK, &end);

	free(w.text);
	return r;
}
