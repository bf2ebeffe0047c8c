/* SPDX-License-Identifier: Apache-2.0
 * The merged tree: what each kind of entry does to what the layers below have. */
#include "publisher/tree.h"

#include "proto/base/bytes.h"
#include "publisher/tree_nodes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct tree *t;
static struct err e;

static void setup(void)
{
	cr_assert_eq(tree_new(&t), 0);
}

static void teardown(void)
{
	tree_free(t);
}

TestSuite(tree, .init = setup, .fini = teardown);

static int try_put(unsigned layer, const char *path, uint16_t mode, const char *target)
{
	struct node_attr attr = {.mode = mode, .uid = layer, .mtime = 77, .target = target};
	struct node *n;

	return tree_put(t, layer, path, &attr, &n, &e);
}

static void put(unsigned layer, const char *path, uint16_t mode)
{
	cr_assert_eq(try_put(layer, path, mode, NULL), 0, "%s", e.text);
}

static void file(unsigned layer, const char *path)
{
	put(layer, path, S_IFREG | 0644);
}

static void dir(unsigned layer, const char *path)
{
	put(layer, path, S_IFDIR | 0700);
}

static void symlink_to(unsigned layer, const char *path, const char *target)
{
	cr_assert_eq(try_put(layer, path, S_IFLNK | 0777, target), 0, "%s", e.text);
}

static void whiteout(unsigned layer, const char *path)
{
	cr_assert_eq(tree_whiteout(t, layer, path, &e), TREE_WHITEOUT, "%s", e.text);
}

static struct node *at(const char *path)
{
	struct node *n;

	return tree_walk(t, path, strlen(path), TREE_LOOK, &n) < 0 ? NULL : n;
}

/* The names of the tree, sorted, each with its type. */
static void holds(const char *want)
{
	char got[4096] = "";
	size_t n = 0;

	cr_assert_eq(tree_sort(t), 0);
	for (const struct name *name = tree_next(tree_root(t)); name; name = tree_next(name)) {
		const struct name *up[64];
		int depth = 0;

		for (const struct name *u = name; u->dir; u = u->dir->dir.self)
			up[depth++] = u;
		while (depth--)
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%.*s%s", up[depth]->length,
					      up[depth]->text,
					      depth			? "/"
					      : node_is_dir(name->node) ? "/ "
									: " ");
	}
	cr_assert_str_eq(got, want);
}

Test(tree, begins_as_an_empty_root)
{
	holds("");
	cr_assert_eq(tree_count(t).inodes, 1);
	cr_assert_eq(at("/")->mode, S_IFDIR | 0755);
}

Test(tree, makes_parents_that_no_layer_lists)
{
	file(1, "a/b/f");
	holds("a/ a/b/ a/b/f ");
	cr_assert_eq(at("a")->mode, S_IFDIR | 0755);
	cr_assert_eq(at("a")->uid, 0);
	cr_assert_eq(at("a")->mtime, 0);
	dir(1, "a");
	cr_assert_eq(at("a")->mode, S_IFDIR | 0700, "listed after all");
	holds("a/ a/b/ a/b/f ");
}

Test(tree, takes_odd_spellings_of_a_path)
{
	dir(0, "./a//");
	file(0, "/a/./f");
	file(0, "a//g/.");
	put(0, ".", S_IFDIR | 0711);
	holds("a/ a/f a/g ");
	cr_assert_eq(at("")->mode, S_IFDIR | 0711);
}

Test(tree, refuses_impossible_paths)
{
	static const char *const bad[] = {"", "..", "a/..", "../a", "a/../b", "/.."};
	char name[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(try_put(0, bad[i], S_IFREG, NULL), -EUCLEAN, "%s", bad[i]);
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	cr_assert_eq(try_put(0, name, S_IFREG, NULL), -EUCLEAN);
	name[255] = 0;
	cr_assert_eq(try_put(0, name, S_IFREG, NULL), 0);
	cr_assert_eq(try_put(0, "/", S_IFREG, NULL), -EUCLEAN, "the root is a directory");
	cr_assert_eq(tree_link(t, 0, ".", name, &e), -EUCLEAN);
}

Test(tree, refuses_a_path_over_the_limit)
{
	static char path[TREE_MAX_PATH + 2];

	for (size_t i = 0; i <= TREE_MAX_PATH; i++)
		path[i] = i % 2 ? '/' : 'd';
	cr_assert_eq(try_put(0, path, S_IFREG, NULL), -EUCLEAN);
	path[TREE_MAX_PATH] = 0;
	cr_assert_eq(try_put(0, path, S_IFREG, NULL), 0, "32768 directories, one in the other");
	cr_assert_eq(tree_count(t).names, TREE_MAX_PATH / 2 + 1);
}

Test(tree, replaces_what_is_there)
{
	file(0, "f");
	dir(0, "d");
	file(0, "d/x/y");
	symlink_to(0, "s", "f");
	dir(1, "f");
	file(1, "d");
	put(1, "s", S_IFIFO | 0600);
	holds("d f/ s ");
	cr_assert_eq(tree_count(t).inodes, 4);
	cr_assert_eq(at("s")->mode, S_IFIFO | 0600);
}

Test(tree, lets_a_directory_keep_its_entries)
{
	dir(0, "d");
	file(0, "d/f");
	put(1, "d/", S_IFDIR | 01777);
	holds("d/ d/f ");
	cr_assert_eq(at("d")->mode, S_IFDIR | 01777);
	cr_assert_eq(at("d")->uid, 1);
	cr_assert_eq(at("d/f")->uid, 0);
}

Test(tree, follows_symlinks_among_the_parents)
{
	dir(0, "usr/lib");
	symlink_to(0, "lib", "usr/lib");
	symlink_to(0, "usr/up", "../../../lib");
	symlink_to(0, "abs", "/usr");
	file(1, "lib/a");
	file(1, "usr/up/b");
	file(1, "abs/lib/c");
	holds("abs lib usr/ usr/lib/ usr/lib/a usr/lib/b usr/lib/c usr/up ");
	symlink_to(1, "new", "not/there");
	file(1, "new/f");
	cr_assert_not_null(at("not/there/f"), "as mkdir -p in a chroot would");
	file(2, "lib");
	cr_assert(S_ISREG(at("lib")->mode), "the last part is not followed");
}

Test(tree, gives_up_on_symlinks_in_a_circle)
{
	char target[4000];

	symlink_to(0, "a", "b");
	symlink_to(0, "b", "a");
	cr_assert_eq(try_put(0, "a/f", S_IFREG, NULL), -EUCLEAN);
	/* Each step makes the path longer. */
	memset(target, '/', sizeof(target));
	memcpy(target, "c", 1);
	memcpy(target + sizeof(target) - 3, "/x", 3);
	symlink_to(0, "c", target);
	cr_assert_eq(try_put(0, "c/f", S_IFREG, NULL), -EUCLEAN);
}

Test(tree, makes_a_directory_of_a_lower_file_on_the_way)
{
	file(0, "f");
	file(1, "f/x");
	holds("f/ f/x ");
	file(1, "g");
	cr_assert_eq(try_put(1, "g/x", S_IFREG, NULL), -EUCLEAN, "not of one of the same layer");
	cr_assert(strstr(e.text, "stands in the way"));
}

Test(tree, takes_whiteouts)
{
	file(0, "a");
	file(0, "d/x/y");
	file(0, "k");
	whiteout(1, ".wh.a");
	whiteout(1, "./.wh.d");
	whiteout(1, ".wh.never");
	whiteout(1, "no/such/.wh.dir");
	whiteout(1, "k/.wh.file");
	holds("k ");
	cr_assert_eq(tree_count(t).inodes, 2);
	file(2, "a");
	holds("a k ");
}

Test(tree, applies_a_whiteout_to_lower_layers_only)
{
	file(0, "d/old");
	file(0, "d/sub/old");
	dir(0, "e");
	file(0, "e/old");
	file(0, "f");
	dir(1, "d");
	file(1, "d/new");
	file(1, "d/sub/new");
	file(1, "e/new");
	file(1, "f");
	whiteout(1, ".wh.d");
	whiteout(1, ".wh.e");
	whiteout(1, ".wh.f");
	holds("d/ d/new d/sub/ d/sub/new e/ e/new f ");
	cr_assert_eq(at("d")->mode, S_IFDIR | 0700, "this layer lists it");
	cr_assert_eq(at("e")->mode, S_IFDIR | 0755, "this layer does not: it is made anew");
	cr_assert_eq(at("e")->mtime, 0);
}

Test(tree, takes_opaque_directories)
{
	dir(0, "d");
	file(0, "d/old");
	file(0, "d/sub/old");
	file(1, "d/new");
	whiteout(1, "d/.wh..wh..opq");
	holds("d/ d/new ");
	cr_assert_eq(at("d")->uid, 0, "the directory itself stays as it is");
	file(2, "d/newer");
	whiteout(2, "no/such/.wh..wh..opq");
	holds("d/ d/new d/newer ");
	whiteout(3, ".wh..wh..opq");
	holds("");
}

Test(tree, refuses_whiteouts_of_nothing)
{
	static const char *const bad[] = {".wh.", "d/.wh.", ".wh..", ".wh...", "d/.wh.x/f", ".wh.x/.wh.y"};

	dir(0, "d");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(tree_whiteout(t, 1, bad[i], &e), -EUCLEAN, "%s", bad[i]);
	cr_assert_eq(tree_whiteout(t, 1, ".wh", &e), 0);
	cr_assert_eq(tree_whiteout(t, 1, "x.wh.y", &e), 0);
	cr_assert_eq(tree_whiteout(t, 1, "a.wh.b/c", &e), 0);
	whiteout(1, ".wh..wh.plnk/12.34");
	holds("d/ ");
}

Test(tree, links_names_to_one_inode)
{
	file(0, "a");
	cr_assert_eq(tree_link(t, 0, "d/b", "./a", &e), 0);
	cr_assert_eq(tree_link(t, 1, "c", "/d/b", &e), 0);
	cr_assert_eq(at("c"), at("a"));
	cr_assert_eq(at("a")->nlink, 3);
	cr_assert_eq(tree_count(t).inodes, 3);
	file(2, "a");
	cr_assert_neq(at("c"), at("a"));
	cr_assert_eq(at("c")->nlink, 2);
	whiteout(3, ".wh.c");
	whiteout(3, ".wh.d");
	holds("a ");
	cr_assert_eq(tree_count(t).inodes, 2);
}

Test(tree, links_over_what_is_there)
{
	file(0, "d/f");
	cr_assert_eq(tree_link(t, 0, "d/f", "d/f", &e), 0, "to itself: nothing happens");
	cr_assert_eq(at("d/f")->nlink, 1);
	cr_assert_eq(tree_link(t, 1, "d", "d/f", &e), 0, "over the directory that the target is in");
	holds("d ");
	cr_assert_eq(at("d")->nlink, 1);
	symlink_to(1, "s", "d");
	cr_assert_eq(tree_link(t, 1, "s2", "s", &e), 0);
	cr_assert_eq(tree_root(t)->node->dir.first->node->nlink, 2, "to the symlink, not through it");
}

Test(tree, refuses_links_to_nothing)
{
	static const char *const bad[] = {"no", "no/no", "f/x", "d", ".", "..", "d/..", ""};

	dir(0, "d");
	file(0, "f");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(tree_link(t, 1, "new", bad[i], &e), -EUCLEAN, "%s", bad[i]);
}

Test(tree, sorts_names_by_their_bytes)
{
	static const char *const names[] = {"b", "a", "a.", "a-b", "\xff", "A", "-", "a/x", ".a", "\x01"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		file(i == 7, names[i]);
	holds("\x01 - .a A a/ a/x a-b a. b \xff ");
}

Test(tree, holds_large_directories, .timeout = 20)
{
	char path[32];

	for (int i = 0; i < 200000; i++) {
		(void)snprintf(path, sizeof(path), "d/%d", i);
		file(0, path);
	}
	for (int i = 0; i < 200000; i += 2) {
		(void)snprintf(path, sizeof(path), "d/.wh.%d", i);
		whiteout(1, path);
	}
	cr_assert_eq(tree_sort(t), 0);
	cr_assert_eq(tree_count(t).names, 100002);
	cr_assert_null(at("d/199998"));
	cr_assert_not_null(at("d/199999"));
}

Test(tree, keeps_what_it_will_be_asked_for)
{
	const void *data;
	size_t size;

	file(0, "usr/etc/passwd");
	file(0, "etc/other");
	file(0, "passwd");
	cr_assert_eq(at("usr/etc/passwd")->content, CONTENT_WANTED);
	cr_assert_eq(at("etc/other")->content, CONTENT_PASSED_ON);
	cr_assert_eq(at("passwd")->content, CONTENT_PASSED_ON);
	cr_assert_eq(tree_keep(t, at("usr/etc/passwd"), "root", 4), 0);
	cr_assert_eq(tree_content(t, "etc/passwd", &data, &size), -ENOENT);
	cr_assert_eq(tree_content(t, "etc", &data, &size), -ENOENT);
	cr_assert_eq(tree_content(t, "etc/other", &data, &size), -ENOTSUP);
	symlink_to(1, "etc/passwd", "../usr/etc/passwd");
	cr_assert_eq(tree_content(t, "/etc/passwd", &data, &size), 0);
	cr_assert_eq(size, 4);
	cr_assert_arr_eq(data, "root", 4);
	whiteout(2, "usr/etc/.wh.passwd");
	cr_assert_eq(tree_content(t, "etc/passwd", &data, &size), -ENOENT);
}

Test(tree, holds_equal_attributes_once)
{
	const struct xattr_set *first[500];
	uint8_t set[64] = {0};

	for (uint16_t i = 0; i < 500; i++) {
		put_le16(set, i);
		first[i] = tree_xattrs(t, set, sizeof(set));
	}
	for (uint16_t i = 0; i < 500; i++) {
		put_le16(set, i);
		cr_assert_eq(tree_xattrs(t, set, sizeof(set)), first[i]);
	}
	cr_assert_neq(tree_xattrs(t, set, sizeof(set) - 4), first[499]);
	cr_assert_eq(t->n_xattrs, 501);
}
