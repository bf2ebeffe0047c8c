/* SPDX-License-Identifier: Apache-2.0
 * The tree front's own answers, with a note before each. The kernel keeps names and pages, so each comes by
 * once; a table of the inodes that were looked up gives them their paths. */
#include "guestfs/recorder.h"
#include "guestfs/front_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define MAX_DEPTH 256u
#define SLOTS 4096u

/* An inode that was looked up, under the name that was used first. */
struct seen {
	struct seen *next;
	const struct seen *parent; /* NULL: the root */
	uint64_t nid;
	uint8_t *pages; /* owned; a bit for each, of those that were read */
	bool listed;	/* as a directory */
	char name[];
};

struct recorder {
	struct front front; /* first: the tree front's answers look for it */
	unsigned read_ahead;
	char *target;	      /* owned */
	pthread_mutex_t lock; /* guards all below */
	struct seen *slots[SLOTS], *root;
	struct buf text;
	struct record_stats stats;
	bool no_memory;
};

static struct recorder *recorder_of(fuse_req_t req)
{
	return (struct recorder *)fuse_req_userdata(req);
}

static struct seen *find(struct recorder *r, uint64_t nid)
{
	struct seen *s = r->slots[nid % SLOTS];

	while (s && s->nid != nid)
		s = s->next;
	return s;
}

static struct seen *add(struct recorder *r, uint64_t nid, const struct seen *parent, const char *name)
{
	size_t n = strlen(name) + 1;
	struct seen *s = calloc(1, sizeof(*s) + n);

	if (!s) {
		r->no_memory = true;
		return NULL;
	}
	s->nid = nid;
	s->parent = parent;
	memcpy(s->name, name, n);
	s->next = r->slots[nid % SLOTS];
	r->slots[nid % SLOTS] = s;
	return s;
}

/* One line: the path, and what follows it. */
static void note(struct recorder *r, const struct seen *s, const char *rest)
{
	const struct seen *way[MAX_DEPTH];
	size_t depth = 0;

	for (; s->parent && depth < MAX_DEPTH; s = s->parent)
		way[depth++] = s;
	for (size_t i = 0; i < depth; i++) {
		if (strpbrk(way[i]->name, "\t\n")) {
			r->stats.left_out++;
			return;
		}
	}
	if (depth == 0)
		buf_put(&r->text, "/", 1);
	while (depth > 0) {
		const char *name = way[--depth]->name;

		buf_put(&r->text, "/", 1);
		buf_put(&r->text, name, strlen(name));
	}
	buf_put(&r->text, rest, strlen(rest));
}

/* Names were looked for in a directory, or it was listed. */
static void note_directory(struct recorder *r, struct seen *s)
{
	if (!s->listed)
		note(r, s, "\n");
	s->listed = true;
}

static void note_lookup(struct recorder *r, fuse_ino_t parent, const char *name)
{
	const struct erofs *fs = &r->front.fs;
	uint64_t dir_nid = front_tree_nid(fs, parent), nid;
	struct erofs_inode dir;
	struct seen *s;
	uint8_t type;
	int found = erofs_inode_read(fs, &dir, dir_nid, NULL);

	if (found == 0)
		found = erofs_lookup(fs, &dir, name, strlen(name), &nid, &type, NULL);
	pthread_mutex_lock(&r->lock);
	s = find(r, dir_nid);
	if (s)
		note_directory(r, s);
	if (s && found == 0 && !find(r, nid)) {
		s = add(r, nid, s, name);
		if (s)
			note(r, s, "\t0\t0\n");
	}
	pthread_mutex_unlock(&r->lock);
}

/* Those of pages [first, end) that were not read before, as one line for each run of them. */
static void note_pages(struct recorder *r, struct seen *s, uint64_t size, uint64_t first, uint64_t end)
{
	if (!s->pages) {
		s->pages = calloc((size_t)(size / BLOCK_SIZE / 8 + 1), 1);
		if (!s->pages) {
			r->no_memory = true;
			return;
		}
	}
	while (first < end) {
		uint64_t run = first;
		char rest[64];

		for (; run < end && !(s->pages[run / 8] >> run % 8 & 1); run++)
			s->pages[run / 8] |= (uint8_t)(1u << run % 8);
		if (run == first) {
			first++;
			continue;
		}
		(void)snprintf(rest, sizeof(rest), "\t%" PRIu64 "\t%" PRIu64 "\n", first * BLOCK_SIZE,
			       (run - first) * BLOCK_SIZE);
		note(r, s, rest);
		r->stats.pages += run - first;
		first = run;
	}
}

static void note_read(struct recorder *r, fuse_ino_t node, size_t size, off_t offset)
{
	uint64_t nid = front_tree_nid(&r->front.fs, node), end = (uint64_t)offset + size;
	struct erofs_inode x;
	struct seen *s;

	if (erofs_inode_read(&r->front.fs, &x, nid, NULL) < 0 || (uint64_t)offset >= x.size)
		return;
	if (end > x.size)
		end = x.size;
	pthread_mutex_lock(&r->lock);
	r->stats.reads++;
	s = find(r, nid);
	if (s)
		note_pages(r, s, x.size, (uint64_t)offset / BLOCK_SIZE, (end + BLOCK_SIZE - 1) / BLOCK_SIZE);
	pthread_mutex_unlock(&r->lock);
}

static void note_listing(struct recorder *r, fuse_ino_t node)
{
	struct seen *s;

	pthread_mutex_lock(&r->lock);
	s = find(r, front_tree_nid(&r->front.fs, node));
	if (s)
		note_directory(r, s);
	pthread_mutex_unlock(&r->lock);
}

static void recorder_init(void *userdata, struct fuse_conn_info *conn)
{
	struct recorder *r = userdata;

	front_tree_ops.init(&r->front, conn);
	conn->max_readahead = r->read_ahead;
	/* with it an entry of a listing is not looked up, and would have no path */
	conn->want &= ~(unsigned int)FUSE_CAP_READDIRPLUS;
}

static void recorder_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	note_lookup(recorder_of(req), parent, name);
	front_tree_ops.lookup(req, parent, name);
}

static void recorder_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
			  struct fuse_file_info *fi)
{
	note_read(recorder_of(req), node, size, offset);
	front_tree_ops.read(req, node, size, offset, fi);
}

static void recorder_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t position,
			     struct fuse_file_info *fi)
{
	note_listing(recorder_of(req), node);
	front_tree_ops.readdir(req, node, size, position, fi);
}

static void recorder_free(struct recorder *r)
{
	for (size_t i = 0; i < SLOTS; i++) {
		for (struct seen *s = r->slots[i], *next; s; s = next) {
			next = s->next;
			free(s->pages);
			free(s);
		}
	}
	buf_deinit(&r->text);
	pthread_mutex_destroy(&r->lock);
	free(r->target);
	free(r);
}

/* As an image that is unpacked would be mounted. */
static int start_session(struct recorder *r, struct err *e)
{
	struct fuse_lowlevel_ops ops = front_tree_ops;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	sigset_t all, before;
	int result;

	ops.init = recorder_init;
	ops.lookup = recorder_lookup;
	ops.read = recorder_read;
	ops.readdir = recorder_readdir;
	ops.readdirplus = NULL;
	if (fuse_opt_add_arg(&args, "cocoon") == 0 &&
	    fuse_opt_add_arg(&args, "-oro,default_permissions,allow_other,suid,dev,fsname=cocoon,"
				    "subtype=cocoon,max_read=" FUSE_LOOP_MAX_READ_TEXT) == 0)
		session = fuse_session_new(&args, &ops, sizeof(ops), &r->front);
	fuse_opt_free_args(&args);
	if (!session)
		return err_set(e, -ENOMEM, "libfuse does not make a session");
	if (fuse_session_mount(session, r->target) < 0) {
		fuse_session_destroy(session);
		return err_set(e, -EIO, "mounting FUSE on %s failed", r->target);
	}
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	result = fuse_loop_start(&r->front.loop, session, e);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result < 0)
		(void)umount2(r->target, MNT_DETACH);
	return result;
}

int recorder_start(struct recorder **out, struct image *image, const char *target, unsigned read_ahead,
		   struct err *e)
{
	struct recorder *r = calloc(1, sizeof(*r));
	int result;

	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->front.image = image;
	r->front.kind = FRONT_TREE;
	r->read_ahead = read_ahead;
	buf_init(&r->text, RECORD_MAX);
	pthread_mutex_init(&r->lock, NULL);
	r->target = strdup(target);
	result = r->target ? front_tree_open(&r->front, e) : err_set(e, -ENOMEM, "out of memory");
	if (result == 0) {
		r->root = add(r, r->front.fs.root_nid, NULL, "");
		result = r->root ? start_session(r, e) : err_set(e, -ENOMEM, "out of memory");
	}
	if (result < 0) {
		recorder_free(r);
		return result;
	}
	*out = r;
	return 0;
}

int recorder_stop(struct recorder *r, struct buf *to, struct record_stats *stats, struct err *e)
{
	int result = 0;

	(void)umount2(r->target, MNT_DETACH);
	fuse_loop_stop(&r->front.loop, true);
	if (r->no_memory)
		result = err_set(e, -ENOMEM, "out of memory");
	else if (buf_failed(&r->text))
		result = err_set(e, -E2BIG, "the record is over %u MiB", RECORD_MAX >> 20);
	else
		buf_put(to, r->text.data, r->text.size);
	*stats = r->stats;
	recorder_free(r);
	return result;
}
