/* SPDX-License-Identifier: Apache-2.0
 * memory-fs TREE MOUNTPOINT: a copy of TREE in memory, served by libfuse with everything that makes it fast:
 * what FUSE itself costs, and so the floor of every filesystem that is served by it. The kernel may keep all
 * for ever, is answered with attributes together with names, and opens files by itself. Stays in the
 * foreground until it is unmounted; prints "ready" when the mount is there. */
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOREVER 1e9
#define PATH_SIZE 8192
#define LARGE "1048576"

/* Its inode number is its place, counted from 1; a directory's entries stand side by side, by name. */
struct node {
	struct stat st;
	char *name;
	const char *data; /* of a file; a link's target, NUL-terminated */
	fuse_ino_t parent, first;
	size_t n_children;
};

static struct node *nodes;
static size_t n_nodes, room;

static struct node *node_of(fuse_ino_t ino)
{
	return &nodes[ino - 1];
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void path_of(fuse_ino_t ino, char path[static PATH_SIZE], const char *tree)
{
	const struct node *n = node_of(ino);
	size_t used;

	if (ino == FUSE_ROOT_ID) {
		(void)snprintf(path, PATH_SIZE, "%s", tree);
		return;
	}
	path_of(n->parent, path, tree);
	used = strlen(path);
	(void)snprintf(path + used, PATH_SIZE - used, "/%s", n->name);
}

static const char *load_file(const char *path, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *p = malloc(size + 1);
	size_t done = 0;

	if (fd < 0 || !p)
		die(path);
	while (done < size) {
		ssize_t n = read(fd, p + done, size - done);

		if (n <= 0)
			die(path);
		done += (size_t)n;
	}
	(void)close(fd);
	return p;
}

static const char *load_target(const char *path)
{
	char *p = calloc(1, PATH_SIZE);

	if (!p || readlink(path, p, PATH_SIZE - 1) < 0)
		die(path);
	return p;
}

static void add(fuse_ino_t parent, const char *name)
{
	if (n_nodes == room) {
		room = room ? room * 2 : 4096;
		nodes = realloc(nodes, room * sizeof(*nodes));
		if (!nodes)
			die("memory");
	}
	nodes[n_nodes++] = (struct node){.parent = parent, .name = strdup(name)};
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_directory(fuse_ino_t ino, const char *path)
{
	struct dirent **list;
	int n = scandir(path, &list, NULL, by_name);

	if (n < 0)
		die(path);
	node_of(ino)->first = n_nodes + 1;
	for (int k = 0; k < n; k++) {
		if (strcmp(list[k]->d_name, ".") != 0 && strcmp(list[k]->d_name, "..") != 0)
			add(ino, list[k]->d_name);
		free(list[k]);
	}
	free(list);
	node_of(ino)->n_children = n_nodes + 1 - node_of(ino)->first;
}

static void load(const char *tree)
{
	char path[PATH_SIZE];

	add(FUSE_ROOT_ID, "");
	for (fuse_ino_t ino = FUSE_ROOT_ID; ino <= n_nodes; ino++) {
		struct stat st;

		path_of(ino, path, tree);
		if (lstat(path, &st) < 0)
			die(path);
		st.st_ino = ino;
		node_of(ino)->st = st;
		if (S_ISDIR(st.st_mode))
			load_directory(ino, path);
		else if (S_ISREG(st.st_mode))
			node_of(ino)->data = load_file(path, (size_t)st.st_size);
		else if (S_ISLNK(st.st_mode))
			node_of(ino)->data = load_target(path);
	}
}

static struct fuse_entry_param entry_of(fuse_ino_t ino)
{
	return (struct fuse_entry_param){
		.ino = ino, .attr = node_of(ino)->st, .attr_timeout = FOREVER, .entry_timeout = FOREVER};
}

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_read = conn->max_write = conn->max_readahead = 1u << 20;
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
				       FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA);
	conn->want &= ~(unsigned int)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS_AUTO);
}

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param none = {.entry_timeout = FOREVER};
	const struct node *dir = node_of(parent);
	size_t low = 0, high = dir->n_children;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(name, node_of(dir->first + middle)->name);

		if (order == 0) {
			struct fuse_entry_param e = entry_of(dir->first + middle);

			(void)fuse_reply_entry(req, &e);
			return;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	(void)fuse_reply_entry(req, &none);
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	(void)fuse_reply_attr(req, &node_of(ino)->st, FOREVER);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	(void)fuse_reply_readlink(req, node_of(ino)->data);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	(void)fuse_reply_err(req, ENOSYS); /* the kernel does it from then on, and keeps what it has read */
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct node *n = node_of(ino);
	size_t left = offset < n->st.st_size ? (size_t)(n->st.st_size - offset) : 0;

	(void)fi;
	(void)fuse_reply_buf(req, n->data + offset, size < left ? size : left);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t position, bool plus)
{
	const struct node *dir = node_of(ino);
	char *p = malloc(size);
	size_t used = 0;

	for (size_t k = (size_t)position; p && k < dir->n_children + 2; k++) {
		fuse_ino_t child = k == 0 ? ino : k == 1 ? dir->parent : dir->first + k - 2;
		const char *name = k == 0 ? "." : k == 1 ? ".." : node_of(child)->name;
		struct fuse_entry_param e = entry_of(child);
		size_t n;

		if (k < 2)
			e.ino = 0;
		n = plus ? fuse_add_direntry_plus(req, p + used, size - used, name, &e, (off_t)k + 1)
			 : fuse_add_direntry(req, p + used, size - used, name, &e.attr, (off_t)k + 1);
		if (n > size - used)
			break;
		used += n;
	}
	(void)fuse_reply_buf(req, p, used);
	free(p);
}

static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t position, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, position, false);
}

static void do_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t position,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, position, true);
}

static const struct fuse_lowlevel_ops ops = {
	.init = do_init,
	.lookup = do_lookup,
	.getattr = do_getattr,
	.readlink = do_readlink,
	.open = do_open,
	.opendir = do_open,
	.read = do_read,
	.readdir = do_readdir,
	.readdirplus = do_readdirplus,
};

int main(int argc, char **argv)
{
	char *options[] = {argv[0], (char[]){"-oro,allow_other,default_permissions,max_read=" LARGE}, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, options);
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	struct fuse_session *session;
	int r;

	if (argc != 3)
		return 2;
	load(argv[1]);
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_set_signal_handlers(session) < 0 || fuse_session_mount(session, argv[2]) < 0)
		return 1;
	(void)puts("ready");
	(void)fflush(stdout);
	r = fuse_session_loop_mt(session, config);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_loop_cfg_destroy(config);
	return r < 0;
}
