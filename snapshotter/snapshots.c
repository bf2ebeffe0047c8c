/* SPDX-License-Identifier: Apache-2.0
 * Each call is: what does the database say; what must the machine do that may take long (mount an image, walk
 * a tree), outside any transaction; one transaction that checks again and writes. Directories are made inside
 * the transaction that names them and taken away after the one that forgets them, so that a crash leaves at
 * most directories that nobody knows, which the next start clears away. */
#include "snapshotter/snapshots.h"

#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "snapshotter/snapshot_db.h"
#include "snapshotter/snapshot_fs.h"

#include <pthread.h>
#include <string.h>

#define MAX_OPTION (1u << 20) /* of a lowerdir list */

struct snapshots {
	struct snapshot_db *db;
	struct snapshot_fs *fs;
	struct local_road *road;      /* NULL: no sealed images */
	struct sealed_finder *sealed; /* likewise */
	bool index_off;		      /* overlayfs knows index= */
	pthread_mutex_t cleaning;     /* one cleanup at a time; taken before everything else */
};

/* What lies below a snapshot: ordinary layers, topmost first, then perhaps a sealed image. */
struct lowers {
	size_t n;
	int64_t *ids;	 /* owned */
	char *reference; /* owned; of the image, NULL when there is none */
	struct digest chain;
	char image_path[PATH_MAX]; /* where it is mounted */
};

static void lowers_deinit(struct lowers *l)
{
	free(l->ids);
	free(l->reference);
}

#define cleanup_lowers __attribute__((cleanup(lowers_deinit)))

/* Opening -------------------------------------------------------------------------------------------------
 */

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

int snapshots_open(struct snapshots **out, const char *root, struct local_road *road,
		   struct sealed_finder *sealed, struct err *e)
{
	__attribute__((cleanup(cleanup_snapshots))) struct snapshots *s = calloc(1, sizeof(*s));
	cleanup_free char *path = NULL;
	struct err words = {""};
	int r;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->cleaning, NULL);
	s->road = road;
	s->sealed = sealed;
	s->index_off = access("/sys/module/overlay/parameters/index", F_OK) == 0;
	r = snapshot_fs_open(&s->fs, root, e);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/snapshots.db", root) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = snapshot_db_open(&s->db, path, e);
	if (r < 0)
		return r;
	if (snapshot_fs_cleanup(s->fs, keep_directory, s, &words) < 0)
		log_warn("leftover directories stay: %s", words.text);
	if (road && local_road_sweep(road, keep_image, s, &words) < 0)
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
	(void)pthread_mutex_destroy(&s->cleaning);
	free(s);
}

/* Sealed layers -------------------------------------------------------------------------------------------
 */

/* Inside a transaction: a record for layer `i`, whose parent is there. */
static int insert_layer(struct snapshots *s, const struct sealed_layer *l, uint32_t i, const char *name,
			const char *parent, const struct labels *labels, struct err *e)
{
	cleanup_snapshot struct snapshot x = {.kind = SNAPSHOT_COMMITTED};
	char text[DIGEST_TEXT_SIZE];
	int64_t id;
	int r;

	(void)digest_text(&l->image.chain_ids[i], text);
	x.name = strdup(name);
	x.parent = strdup(parent);
	x.chain = strdup(text);
	if (i == l->image.n_layers - 1)
		x.image = strdup(l->reference);
	if (!x.name || !x.parent || !x.chain || (i == l->image.n_layers - 1 && !x.image) ||
	    (labels && labels_copy(&x.labels, labels) < 0))
		return -ENOMEM;
	r = labels_set(&x.labels, LABEL_REF, text, e);
	return r < 0 ? r : snapshot_db_insert(s->db, &x, &id, e);
}

/* Inside a transaction: is `parent` what layer l->layer stands on? */
static int check_parent(struct snapshots *s, const struct sealed_layer *l, const char *parent, struct err *e)
{
	cleanup_snapshot struct snapshot p = {0};
	char text[DIGEST_TEXT_SIZE];
	int r;

	if (l->layer == 0)
		return *parent ? err_set(e, -EINVAL, "the first layer of %s has a parent", l->reference) : 0;
	if (!*parent)
		return err_set(e, -EINVAL, "layer %u of %s has no parent", l->layer, l->reference);
	r = snapshot_db_get(s->db, parent, &p, e);
	if (r < 0)
		return r;
	if (!p.chain || strcmp(p.chain, digest_text(&l->image.chain_ids[l->layer - 1], text)) != 0)
		return err_set(e, -EINVAL, "%s is not layer %u of %s", parent, l->layer - 1, l->reference);
	return 0;
}

/* Inside a transaction: write the layer down, or find it. */
static int claim_layer(struct snapshots *s, const struct sealed_layer *l, const char *parent,
		       const struct labels *labels, struct err *e)
{
	cleanup_snapshot struct snapshot there = {0};
	char text[DIGEST_TEXT_SIZE], name[SEALED_NAME_SIZE];
	int r = check_parent(s, l, parent, e);

	if (r < 0)
		return r;
	r = snapshot_db_get_by_chain(s->db, digest_text(&l->image.chain_ids[l->layer], text), parent, &there,
				     e);
	if (r == -ENOENT)
		return insert_layer(s, l, l->layer, sealed_name(l, l->layer, name), parent, labels, e);
	if (r < 0)
		return r;
	/* The same sealed bytes under another manifest (rewrapped keys, another registry): the newest is
	 * asked from now on. */
	if (there.image && strcmp(there.image, l->reference) != 0)
		return snapshot_db_set_image(s->db, there.name, l->reference, e);
	return 0;
}

/* Make records again that the state has lost: the image's layers up to l->layer, which gets the name that was
 * asked for. */
static int restore_layers(struct snapshots *s, const struct sealed_layer *l, const char *name, struct err *e)
{
	char parent[SEALED_NAME_SIZE] = "";

	for (uint32_t i = 0; i <= l->layer; i++) {
		cleanup_snapshot struct snapshot there = {0};
		char text[DIGEST_TEXT_SIZE], own[SEALED_NAME_SIZE];
		int r = -ENOENT;

		(void)sealed_name(l, i, own);
		if (i < l->layer)
			r = snapshot_db_get_by_chain(s->db, digest_text(&l->image.chain_ids[i], text), parent,
						     &there, e);
		if (r == -ENOENT)
			r = insert_layer(s, l, i, i == l->layer ? name : own, parent, NULL, e);
		if (r < 0)
			return r;
		(void)snprintf(parent, sizeof(parent), "%s", there.name ? there.name : own);
	}
	return 0;
}

/* containerd knows a snapshot that we do not: when its name says that it is a sealed layer, make it again. 0
 * when it is there now. */
static int restore(struct snapshots *s, const char *name, struct err *e)
{
	struct sealed_layer l;
	int r = s->sealed ? sealed_find_by_name(s->sealed, name, &l, e) : SEALED_NO;

	if (r == SEALED_NO)
		return err_set(e, -ENOENT, "snapshot %s does not exist", name);
	if (r < 0)
		return r;
	r = snapshot_db_begin(s->db, e);
	if (r < 0)
		return r;
	r = snapshot_db_has_name(s->db, name) ? 0 : restore_layers(s, &l, name, e);
	if (r < 0) {
		snapshot_db_rollback(s->db);
		return r;
	}
	r = snapshot_db_commit(s->db, e);
	if (r == 0)
		log_info("snapshot made again name=%s", name);
	return r;
}

static int get(struct snapshots *s, const char *name, struct snapshot *out, struct err *e)
{
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = snapshot_db_get(s->db, name, out, e);
	snapshot_db_rollback(s->db);
	return r;
}

static int get_or_restore(struct snapshots *s, const char *name, struct snapshot *out, struct err *e)
{
	int r = get(s, name, out, e);

	if (r != -ENOENT)
		return r;
	r = restore(s, name, e);
	return r < 0 ? r : get(s, name, out, e);
}

/* -EEXIST when the layer is a sealed one and there; 0 when the labels name none. */
static int prepare_sealed(struct snapshots *s, const char *key, const char *parent,
			  const struct labels *labels, struct err *e)
{
	cleanup_snapshot struct snapshot p = {0};
	char path[PATH_MAX];
	struct sealed_layer l;
	const struct digest *chain;
	bool last;
	int r = sealed_find(s->sealed, labels, &l, e);

	if (r != 0)
		return r == SEALED_NO ? 0 : r;
	if (*parent) {
		r = get_or_restore(s, parent, &p, e);
		if (r < 0)
			return r;
	}
	chain = &l.image.chain_ids[l.layer];
	last = l.layer == l.image.n_layers - 1;
	if (last)
		r = local_road_mount(s->road, chain, l.reference, path, e);
	if (r < 0)
		return r;
	r = snapshot_db_begin(s->db, e);
	if (r == 0) {
		r = claim_layer(s, &l, parent, labels, e);
		if (r == 0)
			r = snapshot_db_commit(s->db, e);
		else
			snapshot_db_rollback(s->db);
	}
	if (last)
		local_road_release(s->road, chain);
	if (r < 0)
		return r;
	log_info("layer sealed key=%s layer=%u of=%u ref=%s", key, l.layer, l.image.n_layers, l.reference);
	return err_set(e, -EEXIST, "target snapshot %s: already exists", labels_get(labels, LABEL_REF));
}

/* Ordinary snapshots --------------------------------------------------------------------------------------
 */

static int push(struct lowers *l, int64_t id)
{
	int64_t *grown = reallocarray(l->ids, l->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->ids = grown;
	grown[l->n++] = id;
	return 0;
}

/* Inside a transaction: follow the parents from `name` down. */
static int collect(struct snapshots *s, const char *name, struct lowers *l, struct err *e)
{
	cleanup_free char *at = strdup(name);

	if (!at)
		return -ENOMEM;
	while (*at) {
		cleanup_snapshot struct snapshot x = {0};
		int r = snapshot_db_get(s->db, at, &x, e);

		if (r < 0)
			return r;
		if (x.chain) {
			if (!x.image)
				return err_set(
					e, -EINVAL,
					"%s is one layer of a sealed image; only the whole image can be used",
					at);
			l->reference = take_ptr(x.image);
			return digest_parse(&l->chain, x.chain);
		}
		if (push(l, x.id) < 0)
			return -ENOMEM;
		free(at);
		at = take_ptr(x.parent);
	}
	return 0;
}

/* Find what is below `parent`, and have the image mounted (and held) when there is one. */
static int find_lowers(struct snapshots *s, const char *parent, struct lowers *l, struct err *e)
{
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = collect(s, parent, l, e);
	snapshot_db_rollback(s->db);
	if (r < 0 || !l->reference)
		return r;
	if (!s->road)
		return err_set(e, -ENOTSUP, "%s: this snapshotter mounts no sealed images", l->reference);
	r = local_road_mount(s->road, &l->chain, l->reference, l->image_path, e);
	if (r < 0) {
		free(l->reference);
		l->reference = NULL; /* nothing is held */
	}
	return r;
}

static void release_lowers(struct snapshots *s, const struct lowers *l)
{
	if (l->reference)
		local_road_release(s->road, &l->chain);
}

static void put_text(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}

static int add_option(struct mount *m, struct buf *option)
{
	buf_u8(option, 0);
	return buf_failed(option) ? -ENOMEM : mount_option(m, (const char *)option->data);
}

static int add_lowerdir(struct snapshots *s, const struct lowers *l, struct mount *m)
{
	cleanup_buf struct buf b;
	char path[PATH_MAX];

	buf_init(&b, MAX_OPTION);
	put_text(&b, "lowerdir=");
	for (size_t i = 0; i < l->n; i++) {
		put_text(&b, i > 0 ? ":" : "");
		put_text(&b, snapshot_fs_path(s->fs, l->ids[i], SNAPSHOT_FS, path));
	}
	if (l->reference) {
		put_text(&b, l->n > 0 ? ":" : "");
		put_text(&b, l->image_path);
	}
	return add_option(m, &b);
}

static int add_directory(struct snapshots *s, int64_t id, enum snapshot_dir which, const char *option,
			 struct mount *m)
{
	cleanup_buf struct buf b;
	char path[PATH_MAX];

	buf_init(&b, MAX_OPTION);
	put_text(&b, option);
	put_text(&b, snapshot_fs_path(s->fs, id, which, path));
	return add_option(m, &b);
}

static int bind(struct mount *m, const char *source, bool writable)
{
	int r = mount_set(m, "bind", source);

	if (r == 0)
		r = mount_option(m, writable ? "rw" : "ro");
	return r == 0 ? mount_option(m, "rbind") : r;
}

/* One directory is bound; more are put together by overlayfs. */
static int make_mount(struct snapshots *s, int64_t id, enum snapshot_kind kind, const struct lowers *l,
		      struct mount *m)
{
	size_t n = l->n + (l->reference ? 1 : 0);
	char path[PATH_MAX];
	int r;

	if (n == 0)
		return bind(m, snapshot_fs_path(s->fs, id, SNAPSHOT_FS, path), kind == SNAPSHOT_ACTIVE);
	if (n == 1 && kind == SNAPSHOT_VIEW)
		return bind(m,
			    l->reference ? l->image_path
					 : snapshot_fs_path(s->fs, l->ids[0], SNAPSHOT_FS, path),
			    false);
	r = mount_set(m, "overlay", "overlay");
	if (r == 0 && s->index_off)
		r = mount_option(m, "index=off");
	if (r == 0 && kind == SNAPSHOT_ACTIVE)
		r = add_directory(s, id, SNAPSHOT_WORK, "workdir=", m);
	if (r == 0 && kind == SNAPSHOT_ACTIVE)
		r = add_directory(s, id, SNAPSHOT_FS, "upperdir=", m);
	return r == 0 ? add_lowerdir(s, l, m) : r;
}

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
	else if (l->reference)
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
	int64_t id = 0;
	int r;

	x.name = strdup(key);
	x.parent = strdup(parent);
	if (!x.name || !x.parent || labels_copy(&x.labels, labels) < 0)
		return -ENOMEM;
	r = find_lowers(s, parent, &l, e);
	if (r == -ENOENT && restore(s, parent, NULL) == 0)
		r = find_lowers(s, parent, &l, e);
	if (r < 0)
		return r;
	r = create_durably(s, &x, &l, &id, e);
	if (r == 0)
		r = make_mount(s, id, kind, &l, &m);
	release_lowers(s, &l);
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
		r = prepare_sealed(s, key, parent, labels, e);
	return r < 0 ? r : prepare_ordinary(s, kind, key, parent, labels, out, e);
}

int snapshots_mounts(struct snapshots *s, const char *key, struct mount *out, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	cleanup_mount struct mount m = {0};
	cleanup_lowers struct lowers l = {0};
	int r = get(s, key, &x, e);

	if (r < 0)
		return r;
	if (x.kind == SNAPSHOT_COMMITTED)
		return err_set(e, -EBUSY, "snapshot %s is committed: there is nothing to mount", key);
	r = find_lowers(s, x.parent, &l, e);
	if (r < 0)
		return r;
	r = make_mount(s, x.id, x.kind, &l, &m);
	release_lowers(s, &l);
	if (r < 0)
		return r;
	*out = m;
	m = (struct mount){0};
	return 0;
}

int snapshots_commit(struct snapshots *s, const char *name, const char *key, const struct labels *labels,
		     struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	uint64_t size, inodes;
	int r;

	if (!*name)
		return err_set(e, -EINVAL, "a snapshot without a name");
	r = get(s, key, &x, e);
	if (r < 0)
		return r;
	if (x.kind != SNAPSHOT_ACTIVE)
		return err_set(e, -EBUSY, "snapshot %s is not active", key);
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

/* Asking --------------------------------------------------------------------------------------------------
 */

int snapshots_stat(struct snapshots *s, const char *key, struct snapshot *out, struct err *e)
{
	return get_or_restore(s, key, out, e);
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
	return r < 0 ? r : get(s, key, out, e);
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
	int r = get_or_restore(s, key, &x, e);

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
	if (s->road)
		swept = local_road_sweep(s->road, keep_image, s, r == 0 ? e : NULL);
	(void)pthread_mutex_unlock(&s->cleaning);
	return r < 0 ? r : swept;
}
