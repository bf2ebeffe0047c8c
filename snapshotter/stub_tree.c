/* SPDX-License-Identifier: Apache-2.0
 * Two directories: overlayfs wants two when there is no upper one, so the second is there and empty. Files
 * are written once, as running containers' overlays may have them open: another content needs another name.
 */
#include "snapshotter/stub_tree.h"

#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	const char *path, *text;
} files[] = {
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"},
	{"etc/group", "root:x:0:\n"},
};

/* Below `dir`, readable for all whatever the umask. */
static int make_directory(int dir, const char *name, struct err *e)
{
	if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
		return err_errno(e, -errno, "%s", name);
	return fchmodat(dir, name, 0755, 0) < 0 ? err_errno(e, -errno, "%s", name) : 0;
}

static int fill(int tree, struct err *e)
{
	int r = make_directory(tree, "etc", e);

	for (size_t i = 0; r == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		if (faccessat(tree, files[i].path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			r = file_write(tree, files[i].path, files[i].text, strlen(files[i].text), 0644, e);
	return r;
}

int stub_tree_make(char **lowers, const char *root, struct err *e)
{
	cleanup_free char *path = NULL;
	cleanup_close int stub = -1, tree = -1;
	int r;

	if (asprintf(&path, "%s/stub", root) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = make_directories(path, e);
	if (r < 0)
		return r;
	stub = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (stub < 0)
		return err_errno(e, -errno, "%s", path);
	r = make_directory(stub, "tree", e);
	if (r == 0)
		r = make_directory(stub, "empty", e);
	tree = r == 0 ? openat(stub, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (r == 0 && tree < 0)
		r = err_errno(e, -errno, "tree");
	if (r == 0)
		r = fill(tree, e);
	if (r < 0)
		return err_prefix(e, r, "%s", path);
	if (asprintf(lowers, "%s/tree:%s/empty", path, path) < 0) {
		*lowers = NULL;
		return -ENOMEM;
	}
	return 0;
}
