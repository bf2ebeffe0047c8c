/* SPDX-License-Identifier: Apache-2.0
 * Requests are built on the stack and borrow their text; a map is a list of pointers to entries whose C type
 * differs from message to message, so each has its own few lines. */
#include "publisher/containerd_calls.h"

#include "google/protobuf/empty.pb-c.h"
#include "proto/base/cleanup.h"
#include "proto/containerd/content.pb-c.h"
#include "proto/containerd/images.pb-c.h"
#include "proto/containerd/leases.pb-c.h"
#include "proto/containerd/snapshots.pb-c.h"

#include <string.h>
#include <time.h>

#define TIMEOUT_MS 60000
#define MAX_LABELS 160 /* a label for each layer, and a few */

/* protobuf-c's strings are char *; packing does not write to them. */
static char *text(const char *t)
{
	union {
		const char *in;
		char *out;
	} u = {t};

	return u.out;
}

int containerd_lease_create(struct containerd_client *c, const char *id, unsigned seconds, struct err *e)
{
	Containerd__Services__Leases__V1__CreateRequest request;
	Containerd__Services__Leases__V1__CreateRequest__LabelsEntry entry, *entries[] = {&entry};
	time_t end = time(NULL) + (time_t)seconds;
	char expire[32];
	struct tm tm;
	int r;

	(void)strftime(expire, sizeof(expire), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&end, &tm));
	containerd__services__leases__v1__create_request__labels_entry__init(&entry);
	entry.key = text("containerd.io/gc.expire");
	entry.value = expire;
	containerd__services__leases__v1__create_request__init(&request);
	request.id = text(id);
	request.labels = entries;
	request.n_labels = 1;
	r = containerd_client_call(c, "/containerd.services.leases.v1.Leases/Create", &request.base,
				   &containerd__services__leases__v1__create_response__descriptor, NULL,
				   TIMEOUT_MS, e);
	return r < 0 ? r : containerd_client_use_lease(c, id);
}

int containerd_lease_delete(struct containerd_client *c, const char *id, struct err *e)
{
	Containerd__Services__Leases__V1__DeleteRequest request;

	containerd__services__leases__v1__delete_request__init(&request);
	request.id = text(id);
	return containerd_client_call(c, "/containerd.services.leases.v1.Leases/Delete", &request.base,
				      &google__protobuf__empty__descriptor, NULL, TIMEOUT_MS, e);
}

/* ---- Content ---- */

static int label_content(struct containerd_client *c, const struct digest *digest,
			 const struct containerd_label *labels, size_t n, struct err *e)
{
	Containerd__Services__Content__V1__Info__LabelsEntry entry[MAX_LABELS], *entries[MAX_LABELS];
	Containerd__Services__Content__V1__UpdateRequest request;
	Containerd__Services__Content__V1__Info info;
	Google__Protobuf__FieldMask mask;
	char name[DIGEST_TEXT_SIZE], *paths[MAX_LABELS] = {NULL};
	int r = 0;

	containerd__services__content__v1__info__init(&info);
	google__protobuf__field_mask__init(&mask);
	for (; mask.n_paths < n; mask.n_paths++) {
		const struct containerd_label *l = &labels[mask.n_paths];

		containerd__services__content__v1__info__labels_entry__init(&entry[mask.n_paths]);
		entry[mask.n_paths].key = text(l->key);
		entry[mask.n_paths].value = text(l->value);
		entries[mask.n_paths] = &entry[mask.n_paths];
		if (asprintf(&paths[mask.n_paths], "labels.%s", l->key) < 0) {
			paths[mask.n_paths] = NULL;
			r = -ENOMEM;
			break;
		}
	}
	info.digest = text(digest_text(digest, name));
	info.labels = entries;
	info.n_labels = mask.n_paths;
	mask.paths = paths;
	containerd__services__content__v1__update_request__init(&request);
	request.info = &info;
	request.update_mask = &mask;
	if (r == 0)
		r = containerd_client_call(c, "/containerd.services.content.v1.Content/Update", &request.base,
					   &containerd__services__content__v1__update_response__descriptor,
					   NULL, TIMEOUT_MS, e);
	for (size_t i = 0; i < mask.n_paths; i++)
		free(paths[i]);
	return r;
}

int containerd_content_put(struct containerd_client *c, const char *ref, const struct digest *digest,
			   const struct buf *data, const struct containerd_label *labels, size_t n,
			   struct err *e)
{
	Containerd__Services__Content__V1__WriteContentRequest__LabelsEntry entry[MAX_LABELS],
		*entries[MAX_LABELS];
	Containerd__Services__Content__V1__WriteContentRequest request;
	char name[DIGEST_TEXT_SIZE];
	int r;

	if (n > MAX_LABELS)
		return err_set(e, -E2BIG, "over %d labels", MAX_LABELS);
	for (size_t i = 0; i < n; i++) {
		containerd__services__content__v1__write_content_request__labels_entry__init(&entry[i]);
		entry[i].key = text(labels[i].key);
		entry[i].value = text(labels[i].value);
		entries[i] = &entry[i];
	}
	containerd__services__content__v1__write_content_request__init(&request);
	request.action = CONTAINERD__SERVICES__CONTENT__V1__WRITE_ACTION__COMMIT;
	request.ref = text(ref);
	request.total = (int64_t)data->size;
	request.expected = text(digest_text(digest, name));
	request.data.data = data->data;
	request.data.len = data->size;
	request.labels = entries;
	request.n_labels = n;
	r = containerd_client_stream(c, "/containerd.services.content.v1.Content/Write", &request.base,
				     TIMEOUT_MS, e);
	return r == -EEXIST ? label_content(c, digest, labels, n, e) : r;
}

/* ---- Snapshots ---- */

int containerd_snapshot_prepare(struct containerd_client *c, const char *snapshotter, const char *key,
				const char *parent, const struct containerd_label *labels, size_t n,
				unsigned timeout_ms, struct err *e)
{
	Containerd__Services__Snapshots__V1__PrepareSnapshotRequest__LabelsEntry entry[MAX_LABELS],
		*entries[MAX_LABELS];
	Containerd__Services__Snapshots__V1__PrepareSnapshotRequest request;

	if (n > MAX_LABELS)
		return err_set(e, -E2BIG, "over %d labels", MAX_LABELS);
	for (size_t i = 0; i < n; i++) {
		containerd__services__snapshots__v1__prepare_snapshot_request__labels_entry__init(&entry[i]);
		entry[i].key = text(labels[i].key);
		entry[i].value = text(labels[i].value);
		entries[i] = &entry[i];
	}
	containerd__services__snapshots__v1__prepare_snapshot_request__init(&request);
	request.snapshotter = text(snapshotter);
	request.key = text(key);
	request.parent = text(parent);
	request.labels = entries;
	request.n_labels = n;
	return containerd_client_call(
		c, "/containerd.services.snapshots.v1.Snapshots/Prepare", &request.base,
		&containerd__services__snapshots__v1__prepare_snapshot_response__descriptor, NULL, timeout_ms,
		e);
}

int containerd_snapshot_stat(struct containerd_client *c, const char *snapshotter, const char *key,
			     struct err *e)
{
	Containerd__Services__Snapshots__V1__StatSnapshotRequest request;

	containerd__services__snapshots__v1__stat_snapshot_request__init(&request);
	request.snapshotter = text(snapshotter);
	request.key = text(key);
	return containerd_client_call(
		c, "/containerd.services.snapshots.v1.Snapshots/Stat", &request.base,
		&containerd__services__snapshots__v1__stat_snapshot_response__descriptor, NULL, TIMEOUT_MS,
		e);
}

int containerd_snapshot_remove(struct containerd_client *c, const char *snapshotter, const char *key,
			       struct err *e)
{
	Containerd__Services__Snapshots__V1__RemoveSnapshotRequest request;

	containerd__services__snapshots__v1__remove_snapshot_request__init(&request);
	request.snapshotter = text(snapshotter);
	request.key = text(key);
	return containerd_client_call(c, "/containerd.services.snapshots.v1.Snapshots/Remove", &request.base,
				      &google__protobuf__empty__descriptor, NULL, TIMEOUT_MS, e);
}

/* ---- Images ---- */

int containerd_image_put(struct containerd_client *c, const char *name, const char *media_type,
			 const struct digest *digest, uint64_t size, struct err *e)
{
	Containerd__Services__Images__V1__CreateImageRequest create;
	Containerd__Services__Images__V1__UpdateImageRequest update;
	Containerd__Services__Images__V1__Image image;
	Containerd__Types__Descriptor target;
	Google__Protobuf__FieldMask mask;
	char digest_name[DIGEST_TEXT_SIZE], *paths[] = {text("target")};
	int r;

	containerd__types__descriptor__init(&target);
	target.media_type = text(media_type);
	target.digest = text(digest_text(digest, digest_name));
	target.size = (int64_t)size;
	containerd__services__images__v1__image__init(&image);
	image.name = text(name);
	image.target = &target;
	containerd__services__images__v1__create_image_request__init(&create);
	create.image = &image;
	r = containerd_client_call(c, "/containerd.services.images.v1.Images/Create", &create.base,
				   &containerd__services__images__v1__create_image_response__descriptor, NULL,
				   TIMEOUT_MS, e);
	if (r != -EEXIST)
		return r;
	google__protobuf__field_mask__init(&mask);
	mask.paths = paths;
	mask.n_paths = 1;
	containerd__services__images__v1__update_image_request__init(&update);
	update.image = &image;
	update.update_mask = &mask;
	return containerd_client_call(c, "/containerd.services.images.v1.Images/Update", &update.base,
				      &containerd__services__images__v1__update_image_response__descriptor,
				      NULL, TIMEOUT_MS, e);
}
