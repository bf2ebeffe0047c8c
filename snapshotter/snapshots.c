/* SPDX-License-Identifier: Apache-2.0
 * Each call is: what does the database say; what must the machine do that may take long (mount an image, walk
 * a tree), outside any transaction; one transaction that checks again and writes. Directories are made inside
 * the transaction that names them and taken away after the one that forgets them, so that a crash leaves at
 * most directories that nobody knows, which the next start clears away. */
#include "snapshotter/snapshots_internal.h"

#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "snapshotter/stub_tree.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const road_names[N_ROADS] = {[ROAD_LOCAL] = "local", [ROAD_KATA] = "kata"};

/* ---- Opening ---- */

static bool keep_directory(void *arg, int64_t id)
{
	struct snapshots *s = arg;
	bool keep = true;

	if (snapshot_db_begin(s->db, NULL) == 0) {
		keep = snapshot_db_has_id(s->db, id);
		snapshot_db_rollback(s->db);
	}
	return keep;
}

static bool keep_image(void *arg, const struct digest *chain)
{
	struct snapshots *s = arg;
	char text[DIGEST_TEXT_SIZE];
	bool keep = true;

	if (snapshot_db_begin(s->db, NULL) == 0) {
		keep = snapshot_db_has_image(s->db, digest_text(chain, text));
		snapshot_db_rollback(s->db);
	}
	return keep;
}

DEFINE_CLEANUP(snapshots, struct snapshots *, snapshots_close)

int snapshots_open(struct snapshots **out, const struct snapshots_config *config, struct err *e)
{
	__attribute__((cleanup(cleanup_snapshots))) struct snapshots *s = calloc(1, sizeof(*s));
	cleanup_free char *path = NULL;
	struct err words = {""};
	int r;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->cleaning, NULL);
	s->road = config->road;
	s->plain_in_guest = config->plain_in_guest;
	s->local = config->local;
	s->sealed = config->sealed;
	s->index_off = access("/sys/module/overlay/parameters/index", F_OK) == 0;
	r = snapshot_fs_open(&s->fs, config->root, e);
	if (r == 0 && s->road == ROAD_KATA)
		r = stub_tree_make(&s->stub, config->root, e);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/snapshots.db", config->root) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = snapshot_db_open(&s->db, path, e);
	if (r < 0)
		return r;
	if (snapshot_fs_cleanup(s->fs, keep_directory, s, &words) < 0)
		log_warn("leftover directories stay: %s", words.text);
	if (s->local && local_road_sweep(s->local, keep_image, s, &words) < 0)
		log_warn("a leftover mount stays: %s", words.text);
	*out = take_ptr(s);
	return 0;
}

void snapshots_close(struct snapshots *s)
{
	if (!s)
		return;
	snapshot_db_close(s->db);
	snapshot_fs_close(s->fs);
	free(s->stub);
	(void)pthread_mutex_destroy(&s->cleaning);
	free(s);
}

int snapshots_get(struct snapshots *s, const char *name, struct snapshot *out, struct err *e)
{
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = snapshot_db_get(s->db, name, out, e);
	snapshot_db_rollback(s->db);
	return r;
}

int snapshots_get_or_restore(struct snapshots *s, const char *name, struct snapshot *out, struct err *e)
{
	int r = snapshots_get(s, name, out, e);

	if (r != -ENOENT)
		return r;
	r = snapshots_restore(s, name, e);
	return r < 0 ? r : snapshots_get(s, name, out, e);
}

/* ---- Making and changing ---- */

/* Inside a transaction: the record and its directories. */
static int create(struct snapshots *s, const struct snapshot *x, const struct lowers *l, int64_t *id,
		  struct err *e)
{
	char path[PATH_MAX];
	const char *like = NULL;
	int r = snapshot_db_insert(s->db, x, id, e);

	if (r < 0 || (x->kind == SNAPSHOT_VIEW && *x->parent))
		return r; /* a view of something needs nothing of its own */
	if (l->n > 0)
		like = snapshot_fs_path(s->fs, l->ids[0], SNAPSHOT_FS, path);
	else if (*l->image_path)
		like = l->image_path;
	r = snapshot_fs_create(s->fs, *id, x->kind == SNAPSHOT_ACTIVE, like, e);
	if (r < 0)
		(void)snapshot_fs_remove(s->fs, *id, NULL);
	return r;
}

static int create_durably(struct snapshots *s, const struct snapshot *x, const struct lowers *l, int64_t *id,
			  struct err *e)
{
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = create(s, x, l, id, e);
	if (r < 0) {
		snapshot_db_rollback(s->db);
		return r;
	}
	r = snapshot_db_commit(s->db, e);
	if (r < 0)
		(void)snapshot_fs_remove(s->fs, *id, NULL);
	return r;
}

static int prepare_ordinary(struct snapshots *s, enum snapshot_kind kind, const char *key, const char *parent,
			    const struct labels *labels, struct mount *out, struct err *e)
{
	cleanup_snapshot struct snapshot x = {.kind = kind};
	cleanup_mount struct mount m = {0};
	cleanup_lowers struct lowers l = {0};
	int r;

	x.name = strdup(key);
	x.parent = strdup(parent);
	if (!x.name || !x.parent || labels_copy(&x.labels, labels) < 0)
		return -ENOMEM;
	r = snapshots_find_lowers(s, parent, &l, e);
	if (r < 0)
		return r;
	r = create_durably(s, &x, &l, &x.id, e);
	if (r == 0)
		r = snapshots_make_mount(s, &x, &l, &m);
	snapshots_release_lowers(s, &l);
	if (r < 0)
		return r;
	*out = m;
	m = (struct mount){0};
	return 0;
}

int snapshots_prepare(struct snapshots *s, enum snapshot_kind kind, const char *key, const char *parent,
		      const struct labels *labels, struct mount *out, struct err *e)
{
	int r = 0;

	if (!*key)
		return err_set(e, -EINVAL, "a snapshot without a key");
	if (kind == SNAPSHOT_ACTIVE && s->sealed)
		r = snapshots_prepare_sealed(s, key, parent, labels, e);
	return r < 0 ? r : prepare_ordinary(s, kind, key, parent, labels, out, e);
}

int snapshots_mounts(struct snapshots *s, const char *key, struct mount *out, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	cleanup_mount struct mount m = {0};
	cleanup_lowers struct lowers l = {0};
	int r = snapshots_get(s, key, &x, e);

	if (r < 0)
		return r;
	if (x.kind == SNAPSHOT_COMMITTED)
		return err_set(e, -EBUSY, "snapshot %s is committed: there is nothing to mount", key);
	r = snapshots_find_lowers(s, x.parent, &l, e);
	if (r < 0)
		return r;
	r = snapshots_make_mount(s, &x, &l, &m);
	snapshots_release_lowers(s, &l);
	if (r < 0)
		return r;
	*out = m;
	m = (struct mount){0};
	return 0;
}

/* A layer on an image that a guest mounts would be a layer that no guest sees. */
static int check_visible(struct snapshots *s, const struct snapshot *x, struct err *e)
{
	cleanup_snapshot struct snapshot parent = {0};
	int r;

	if (s->road != ROAD_KATA || !*x->parent)
		return 0;
	r = snapshots_get(s, x->parent, &parent, e);
	if (r == 0 && parent.chain)
		return err_set(e, -EBUSY,
			       "%s stands on a sealed image that a guest mounts: it cannot be committed",
			       x->name);
	return r;
}

int snapshots_commit(struct snapshots *s, const char *name, const char *key, const struct labels *labels,
		     struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	uint64_t size, inodes;
	int r;

	if (!*name)
		return err_set(e, -EINVAL, "a snapshot without a name");
	r = snapshots_get(s, key, &x, e);
	if (r < 0)
		return r;
	if (x.kind != SNAPSHOT_ACTIVE)
		return err_set(e, -EBUSY, "snapshot %s is not active", key);
	r = check_visible(s, &x, e);
	if (r < 0)
		return r;
	r = snapshot_fs_usage(s->fs, x.id, &size, &inodes, e);
	if (r < 0)
		return r;
	r = snapshot_db_begin(s->db, e);
	if (r < 0)
		return r;
	r = snapshot_db_commit_active(s->db, key, name, labels, size, inodes, e);
	if (r == 0)
		return snapshot_db_commit(s->db, e);
	snapshot_db_rollback(s->db);
	return r;
}

int snapshots_remove(struct snapshots *s, const char *key, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	struct err words = {""};
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = snapshot_db_get(s->db, key, &x, e);
	if (r == 0)
		r = snapshot_db_remove(s->db, key, e);
	if (r < 0) {
		snapshot_db_rollback(s->db);
		return r;
	}
	r = snapshot_db_commit(s->db, e);
	if (r == 0 && !x.chain && snapshot_fs_remove(s->fs, x.id, &words) < 0)
		log_warn("directories stay until the next start: %s", words.text);
	return r;
}

/* ---- Asking ---- */

int snapshots_stat(struct snapshots *s, const char *key, struct snapshot *out, struct err *e)
{
	return snapshots_get_or_restore(s, key, out, e);
}

/* An empty value means that there is no such label, as everywhere in containerd. */
static int put_label(struct labels *l, const char *key, const char *value, struct err *e)
{
	if (value && *value)
		return labels_set(l, key, value, e);
	labels_remove(l, key);
	return 0;
}

static int replace_labels(struct labels *to, const struct labels *from, struct err *e)
{
	int r = 0;

	labels_deinit(to);
	for (size_t i = 0; r == 0 && i < from->n; i++)
		r = put_label(to, from->items[i].key, from->items[i].value, e);
	return r;
}

static int apply_paths(struct snapshot *x, const struct labels *labels, char *const *paths, size_t n,
		       struct err *e)
{
	int r = n == 0 ? replace_labels(&x->labels, labels, e) : 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (strcmp(paths[i], "labels") == 0)
			r = replace_labels(&x->labels, labels, e);
		else if (strncmp(paths[i], "labels.", 7) == 0)
			r = put_label(&x->labels, paths[i] + 7, labels_get(labels, paths[i] + 7), e);
		else
			r = err_set(e, -EINVAL, "%s: field %s cannot be changed", x->name, paths[i]);
	}
	if (r == 0 && x->chain)
		r = labels_set(&x->labels, LABEL_REF, x->chain, e); /* containerd finds the layer by it */
	return r;
}

int snapshots_update(struct snapshots *s, const char *key, const struct labels *labels, char *const *paths,
		     size_t n, struct snapshot *out, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = snapshot_db_get(s->db, key, &x, e);
	if (r == 0)
		r = apply_paths(&x, labels, paths, n, e);
	if (r == 0)
		r = snapshot_db_set_labels(s->db, key, &x.labels, e);
	if (r < 0) {
		snapshot_db_rollback(s->db);
		return r;
	}
	r = snapshot_db_commit(s->db, e);
	return r < 0 ? r : snapshots_get(s, key, out, e);
}

struct listing {
	const struct filter *filter;
	int (*each)(void *arg, const struct snapshot *x);
	void *arg;
};

static int show(void *arg, const struct snapshot *x)
{
	const struct listing *l = arg;

	return filter_shows(l->filter, x) ? l->each(l->arg, x) : 0;
}

int snapshots_list(struct snapshots *s, const struct filter *filter,
		   int (*each)(void *arg, const struct snapshot *x), void *arg, struct err *e)
{
	struct listing l = {filter, each, arg};
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = snapshot_db_walk(s->db, show, &l, e);
	snapshot_db_rollback(s->db);
	return r;
}

int snapshots_usage(struct snapshots *s, const char *key, uint64_t *size, uint64_t *inodes, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	int r = snapshots_get_or_restore(s, key, &x, e);

	if (r < 0)
		return r;
	*size = x.size;
	*inodes = x.inodes;
	return x.kind == SNAPSHOT_ACTIVE ? snapshot_fs_usage(s->fs, x.id, size, inodes, e) : 0;
}

int snapshots_cleanup(struct snapshots *s, struct err *e)
{
	int r, swept = 0;

	(void)pthread_mutex_lock(&s->cleaning);
	r = snapshot_fs_cleanup(s->fs, NULL, NULL, e);
	if (s->local)
		swept = local_road_sweep(s->local, keep_image, s, r == 0 ? e : NULL);
	(void)pthread_mutex_unlock(&s->cleaning);
	return r < 0 ? r : swept;
}
