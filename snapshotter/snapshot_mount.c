/* SPDX-License-Identifier: Apache-2.0
 * What lies below a snapshot, and how that is mounted: ordinary layers from the top down, and at the bottom
 * perhaps a sealed image, whose mount is one more lower directory, or for which the stub tree stands when a
 * guest mounts it. */
#include "snapshotter/snapshots_internal.h"

#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "snapshotter/kata_volume.h"

#include <errno.h>
#include <string.h>

#define MAX_OPTION (1u << 20) /* of a lowerdir list */

void lowers_deinit(struct lowers *l)
{
	free(l->ids);
	free(l->reference);
	labels_deinit(&l->labels);
}

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
	bool at_top = true;

	if (!at)
		return -ENOMEM;
	while (*at) {
		cleanup_snapshot struct snapshot x = {0};
		int r = snapshot_db_get(s->db, at, &x, e);

		if (r < 0)
			return r;
		if (at_top) {
			l->labels = x.labels;
			x.labels = (struct labels){0};
			at_top = false;
		}
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

static int look_below(struct snapshots *s, const char *parent, struct lowers *l, struct err *e)
{
	int r = snapshot_db_begin(s->db, e);

	if (r < 0)
		return r;
	r = collect(s, parent, l, e);
	snapshot_db_rollback(s->db);
	return r;
}

int snapshots_find_lowers(struct snapshots *s, const char *parent, struct lowers *l, struct err *e)
{
	int r = look_below(s, parent, l, e);

	if (r == -ENOENT && snapshots_restore(s, parent, NULL) == 0)
		r = look_below(s, parent, l, e);
	if (r < 0 || !l->reference || s->road == ROAD_KATA)
		return r;
	if (!s->local)
		return err_set(e, -ENOTSUP, "%s: this snapshotter mounts no sealed images", l->reference);
	r = local_road_mount(s->local, &l->chain, l->reference, l->image_path, e);
	if (r < 0) {
		free(l->reference);
		l->reference = NULL; /* nothing is held */
	}
	return r;
}

void snapshots_release_lowers(struct snapshots *s, const struct lowers *l)
{
	if (l->reference && s->local)
		local_road_release(s->local, &l->chain);
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
		put_text(&b, s->stub ? s->stub : l->image_path);
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

/* A container's writable side, not one that a layer is being unpacked into: containerd's keys of those begin
 * so, behind namespace and number. */
static bool is_container(const struct snapshot *x)
{
	const char *key = strrchr(x->name, '/');

	return x->kind == SNAPSHOT_ACTIVE && strncmp(key ? key + 1 : x->name, "extract-", 8) != 0;
}

static bool is_brought_by_guest(const struct snapshots *s, const struct snapshot *x, const struct lowers *l)
{
	return s->road == ROAD_KATA && (l->reference || (s->plain_in_guest && l->n > 0 && is_container(x)));
}

/* Kata puts the name that the CRI uses in the place of ours, which must only be there. */
static int add_volume(struct mount *m, const struct lowers *l)
{
	const char *name = l->reference ? l->reference : labels_get(&l->labels, LABEL_IMAGE_REF);
	cleanup_free char *option = NULL;
	int r = kata_volume_option(&option, name ? name : "unnamed", &l->labels);

	return r == 0 ? mount_option(m, option) : r;
}

static int bind(struct mount *m, const char *source, bool writable)
{
	int r = mount_set(m, "bind", source);

	if (r == 0)
		r = mount_option(m, writable ? "rw" : "ro");
	return r == 0 ? mount_option(m, "rbind") : r;
}

int snapshots_make_mount(struct snapshots *s, const struct snapshot *x, const struct lowers *l,
			 struct mount *m)
{
	size_t n = l->n + (l->reference ? 1 : 0);
	bool in_guest = is_brought_by_guest(s, x, l), writable = x->kind == SNAPSHOT_ACTIVE;
	char path[PATH_MAX];
	int r;

	if (n == 0)
		return bind(m, snapshot_fs_path(s->fs, x->id, SNAPSHOT_FS, path), writable);
	if (n == 1 && !writable && !in_guest)
		return bind(m,
			    l->reference ? l->image_path
					 : snapshot_fs_path(s->fs, l->ids[0], SNAPSHOT_FS, path),
			    false);
	r = mount_set(m, in_guest ? KATA_MOUNT_TYPE : "overlay", "overlay");
	if (r == 0 && in_guest) /* first: Kata's runtime in Rust looks at no other option */
		r = add_volume(m, l);
	if (r == 0 && s->index_off)
		r = mount_option(m, "index=off");
	if (r == 0 && writable)
		r = add_directory(s, x->id, SNAPSHOT_WORK, "workdir=", m);
	if (r == 0 && writable)
		r = add_directory(s, x->id, SNAPSHOT_FS, "upperdir=", m);
	return r == 0 ? add_lowerdir(s, l, m) : r;
}
