/* SPDX-License-Identifier: Apache-2.0
 * Snapshots of sealed layers: records without directories. A layer is written down when the image says that
 * it is its own and its parent is the layer below; on the local road the last one only when the image is
 * mounted. What the state has lost is made again from the name that containerd still knows. */
#include "snapshotter/snapshots_internal.h"

#include "proto/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
	    labels_copy(&x.labels, labels) < 0)
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
	 * asked from now on, and what a guest is told of it is true. */
	if (there.image && strcmp(there.image, l->reference) != 0) {
		if (labels_copy(&there.labels, labels) < 0)
			return -ENOMEM;
		r = snapshot_db_set_labels(s->db, there.name, &there.labels, e);
		return r < 0 ? r : snapshot_db_set_image(s->db, there.name, l->reference, e);
	}
	return 0;
}

/* What a puller would say of the layer. */
static int label_layer(struct labels *to, const struct sealed_layer *l, uint32_t i, struct err *e)
{
	char text[DIGEST_TEXT_SIZE];
	int r = labels_set(to, LABEL_IMAGE_REF, l->reference, e);

	if (r == 0)
		r = labels_set(to, LABEL_MANIFEST_DIGEST, digest_text(&l->image.manifest, text), e);
	return r == 0 ? labels_set(to, LABEL_LAYER_DIGEST, digest_text(&l->image.layers[i], text), e) : r;
}

/* Make records again that the state has lost: the image's layers up to l->layer, which gets the name that was
 * asked for. */
static int restore_layers(struct snapshots *s, const struct sealed_layer *l, const char *name, struct err *e)
{
	char parent[SEALED_NAME_SIZE] = "";

	for (uint32_t i = 0; i <= l->layer; i++) {
		cleanup_snapshot struct snapshot there = {0};
		cleanup_labels struct labels labels = {0};
		char text[DIGEST_TEXT_SIZE], own[SEALED_NAME_SIZE];
		int r = -ENOENT;

		(void)sealed_name(l, i, own);
		if (i < l->layer)
			r = snapshot_db_get_by_chain(s->db, digest_text(&l->image.chain_ids[i], text), parent,
						     &there, e);
		if (r == -ENOENT) {
			r = label_layer(&labels, l, i, e);
			if (r == 0)
				r = insert_layer(s, l, i, i == l->layer ? name : own, parent, &labels, e);
		}
		if (r < 0)
			return r;
		(void)snprintf(parent, sizeof(parent), "%s", there.name ? there.name : own);
	}
	return 0;
}

int snapshots_restore(struct snapshots *s, const char *name, struct err *e)
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
		log_info("snapshot made again road=%s name=%s", road_names[s->road], name);
	return r;
}

int snapshots_prepare_sealed(struct snapshots *s, const char *key, const char *parent,
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
		r = snapshots_get_or_restore(s, parent, &p, e);
		if (r < 0)
			return r;
	}
	chain = &l.image.chain_ids[l.layer];
	last = l.layer == l.image.n_layers - 1;
	if (s->local && last)
		r = local_road_mount(s->local, chain, l.reference, path, e);
	else if (s->local) /* by the time containerd asks for the last layer, the image may be there */
		local_road_mount_ahead(s->local, &l.image.chain_ids[l.image.n_layers - 1], l.reference);
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
	if (s->local && last)
		local_road_release(s->local, chain);
	if (r < 0)
		return r;
	log_info("layer sealed road=%s key=%s layer=%u of=%u ref=%s", road_names[s->road], key, l.layer,
		 l.image.n_layers, l.reference);
	return err_set(e, -EEXIST, "target snapshot %s: already exists", labels_get(labels, LABEL_REF));
}
