/* SPDX-License-Identifier: Apache-2.0
 * Each handler decodes, calls, encodes. Requests are text that was checked by message.h; answers are built on
 * the stack and borrow from the structs they show. */
#include "snapshotter/snapshots_service.h"

#include "google/protobuf/empty.pb-c.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/containerd/snapshots.pb-c.h"
#include "snapshotter/filter.h"
#include "snapshotter/text.h"

#include <errno.h>
#include <string.h>

#define INFOS_PER_MESSAGE 100 /* as containerd's own service sends them */

typedef Containerd__Services__Snapshots__V1__Info pb_info;
typedef Google__Protobuf__Timestamp pb_time;
typedef Containerd__Types__Mount pb_mount;
typedef Containerd__Services__Snapshots__V1__Info__LabelsEntry pb_label;

/* Decode the request into a variable of its own type, and find what it is for. */
#define REQUEST(name, lower)                                                                                 \
	const struct snapshots_service *service = arg;                                                       \
	ProtobufCMessage *message = NULL;                                                                    \
	const Containerd__Services__Snapshots__V1__##name *request;                                          \
	struct snapshots *snapshots;                                                                         \
	int r = rpc_request(call, &containerd__services__snapshots__v1__##lower##__descriptor, &message, e); \
	int road;                                                                                            \
	request = (const void *)message;                                                                     \
	road = r < 0 ? r : find_road(service, call, request->snapshotter, e);                                \
	if (road < 0)                                                                                        \
		return road;                                                                                 \
	snapshots = service->roads[road].snapshots

/* A map<string, string> is a different C type in each message, always {base, key, value}. */
#define LABELS(to, entries, n)                                                                               \
	do {                                                                                                 \
		for (size_t i_ = 0; i_ < (n); i_++) {                                                        \
			r = take_label((to), (entries)[i_]->key, (entries)[i_]->value, e);                   \
			if (r < 0)                                                                           \
				return r;                                                                    \
		}                                                                                            \
	} while (0)

/* A label without a value is no label: so containerd stores them too. */
static int take_label(struct labels *to, const char *key, const char *value, struct err *e)
{
	return *value ? labels_set(to, key, value, e) : 0;
}

/* Which road; -EINVAL when the name is not ours. */
static int find_road(const struct snapshots_service *s, struct rpc *call, const char *snapshotter,
		     struct err *e)
{
	for (int i = 0; i < N_ROADS; i++)
		if (strcmp(s->roads[i].snapshotter, snapshotter) == 0) {
			rpc_name(call, road_names[i]);
			return i;
		}
	return err_set(e, -EINVAL,
		       "snapshotter %.64s is not configured: local.snapshotter is %s, kata.snapshotter is %s",
		       snapshotter, s->roads[ROAD_LOCAL].snapshotter, s->roads[ROAD_KATA].snapshotter);
}

static void log_outcome(const char *method, int road, const char *key, int r, const struct err *e)
{
	if (r == 0 || r == -EEXIST || r == -ENOENT)
		log_debug("%s road=%s key=%s: %s", method, road_names[road], key, r == 0 ? "ok" : e->text);
	else
		log_warn("%s road=%s key=%s: %s", method, road_names[road], key, e->text);
}

/* ---- Mounts ---- */

/* A mount in protobuf's shape, borrowing from the struct it shows. It is pointed to: it must not move. */
struct shown_mount {
	pb_mount mount;
	pb_mount *list[1];
};

static void show_mount(struct shown_mount *to, struct mount *m)
{
	containerd__types__mount__init(&to->mount);
	to->mount.type = text_for_reader(m->type);
	to->mount.source = m->source;
	to->mount.options = m->options;
	to->mount.n_options = m->n_options;
	to->list[0] = &to->mount;
}

static int prepare(void *arg, struct rpc *call, struct err *e)
{
	cleanup_labels struct labels labels = {0};
	cleanup_mount struct mount m = {0};
	Containerd__Services__Snapshots__V1__PrepareSnapshotResponse response;
	struct shown_mount shown;

	REQUEST(PrepareSnapshotRequest, prepare_snapshot_request);
	LABELS(&labels, request->labels, request->n_labels);
	r = snapshots_prepare(snapshots, SNAPSHOT_ACTIVE, request->key, request->parent, &labels, &m, e);
	log_outcome("Prepare", road, request->key, r, e);
	if (r < 0)
		return r;
	show_mount(&shown, &m);
	containerd__services__snapshots__v1__prepare_snapshot_response__init(&response);
	response.mounts = shown.list;
	response.n_mounts = 1;
	return rpc_answer(call, &response.base);
}

static int view(void *arg, struct rpc *call, struct err *e)
{
	cleanup_labels struct labels labels = {0};
	cleanup_mount struct mount m = {0};
	Containerd__Services__Snapshots__V1__ViewSnapshotResponse response;
	struct shown_mount shown;

	REQUEST(ViewSnapshotRequest, view_snapshot_request);
	LABELS(&labels, request->labels, request->n_labels);
	r = snapshots_prepare(snapshots, SNAPSHOT_VIEW, request->key, request->parent, &labels, &m, e);
	log_outcome("View", road, request->key, r, e);
	if (r < 0)
		return r;
	show_mount(&shown, &m);
	containerd__services__snapshots__v1__view_snapshot_response__init(&response);
	response.mounts = shown.list;
	response.n_mounts = 1;
	return rpc_answer(call, &response.base);
}

static int mounts(void *arg, struct rpc *call, struct err *e)
{
	cleanup_mount struct mount m = {0};
	Containerd__Services__Snapshots__V1__MountsResponse response;
	struct shown_mount shown;

	REQUEST(MountsRequest, mounts_request);
	r = snapshots_mounts(snapshots, request->key, &m, e);
	log_outcome("Mounts", road, request->key, r, e);
	if (r < 0)
		return r;
	show_mount(&shown, &m);
	containerd__services__snapshots__v1__mounts_response__init(&response);
	response.mounts = shown.list;
	response.n_mounts = 1;
	return rpc_answer(call, &response.base);
}

/* ---- Changes ---- */

static int answer_empty(struct rpc *call)
{
	Google__Protobuf__Empty empty;

	google__protobuf__empty__init(&empty);
	return rpc_answer(call, &empty.base);
}

static int commit(void *arg, struct rpc *call, struct err *e)
{
	cleanup_labels struct labels labels = {0};

	REQUEST(CommitSnapshotRequest, commit_snapshot_request);
	LABELS(&labels, request->labels, request->n_labels);
	r = snapshots_commit(snapshots, request->name, request->key, &labels, e);
	log_outcome("Commit", road, request->key, r, e);
	return r < 0 ? r : answer_empty(call);
}

static int remove_snapshot(void *arg, struct rpc *call, struct err *e)
{
	REQUEST(RemoveSnapshotRequest, remove_snapshot_request);
	r = snapshots_remove(snapshots, request->key, e);
	log_outcome("Remove", road, request->key, r, e);
	return r < 0 ? r : answer_empty(call);
}

static int cleanup(void *arg, struct rpc *call, struct err *e)
{
	REQUEST(CleanupRequest, cleanup_request);
	r = snapshots_cleanup(snapshots, e);
	log_outcome("Cleanup", road, "", r, e);
	return r < 0 ? r : answer_empty(call);
}

/* ---- Infos ---- */

struct shown_info {
	pb_info info;
	pb_time created, updated;
	pb_label *entries; /* owned */
	pb_label **list;   /* owned */
};

static void shown_info_deinit(struct shown_info *s)
{
	free(s->entries);
	free(s->list);
}

static void show_time(pb_time *to, int64_t ns)
{
	google__protobuf__timestamp__init(to);
	to->seconds = ns / 1000000000;
	to->nanos = (int32_t)(ns % 1000000000);
}

static int show_info(struct shown_info *to, const struct snapshot *x)
{
	static const Containerd__Services__Snapshots__V1__Kind kinds[] = {
		[SNAPSHOT_VIEW] = CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__VIEW,
		[SNAPSHOT_ACTIVE] = CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__ACTIVE,
		[SNAPSHOT_COMMITTED] = CONTAINERD__SERVICES__SNAPSHOTS__V1__KIND__COMMITTED};

	to->entries = calloc(x->labels.n + 1, sizeof(*to->entries));
	to->list = calloc(x->labels.n + 1, sizeof(pb_label *));
	if (!to->entries || !to->list)
		return -ENOMEM;
	for (size_t i = 0; i < x->labels.n; i++) {
		containerd__services__snapshots__v1__info__labels_entry__init(&to->entries[i]);
		to->entries[i].key = x->labels.items[i].key;
		to->entries[i].value = x->labels.items[i].value;
		to->list[i] = &to->entries[i];
	}
	containerd__services__snapshots__v1__info__init(&to->info);
	show_time(&to->created, x->created_ns);
	show_time(&to->updated, x->updated_ns);
	to->info.name = x->name;
	to->info.parent = x->parent;
	to->info.kind = kinds[x->kind];
	to->info.created_at = &to->created;
	to->info.updated_at = &to->updated;
	to->info.labels = to->list;
	to->info.n_labels = x->labels.n;
	return 0;
}

static int stat_snapshot(void *arg, struct rpc *call, struct err *e)
{
	cleanup_snapshot struct snapshot x = {0};
	__attribute__((cleanup(shown_info_deinit))) struct shown_info shown = {0};
	Containerd__Services__Snapshots__V1__StatSnapshotResponse response;

	REQUEST(StatSnapshotRequest, stat_snapshot_request);
	r = snapshots_stat(snapshots, request->key, &x, e);
	log_outcome("Stat", road, request->key, r, e);
	if (r < 0 || (r = show_info(&shown, &x)) < 0)
		return r;
	containerd__services__snapshots__v1__stat_snapshot_response__init(&response);
	response.info = &shown.info;
	return rpc_answer(call, &response.base);
}

static int update(void *arg, struct rpc *call, struct err *e)
{
	cleanup_labels struct labels labels = {0};
	cleanup_snapshot struct snapshot x = {0};
	__attribute__((cleanup(shown_info_deinit))) struct shown_info shown = {0};
	Containerd__Services__Snapshots__V1__UpdateSnapshotResponse response;

	REQUEST(UpdateSnapshotRequest, update_snapshot_request);
	if (!request->info)
		return err_set(e, -EINVAL, "an update of nothing");
	LABELS(&labels, request->info->labels, request->info->n_labels);
	r = snapshots_update(snapshots, request->info->name, &labels,
			     request->update_mask ? request->update_mask->paths : NULL,
			     request->update_mask ? request->update_mask->n_paths : 0, &x, e);
	log_outcome("Update", road, request->info->name, r, e);
	if (r < 0 || (r = show_info(&shown, &x)) < 0)
		return r;
	containerd__services__snapshots__v1__update_snapshot_response__init(&response);
	response.info = &shown.info;
	return rpc_answer(call, &response.base);
}

/* Infos are gathered to messages of a hundred. */
struct listing {
	struct rpc *call;
	size_t n;
	struct snapshot snapshots[INFOS_PER_MESSAGE];
};

static int snapshot_copy(struct snapshot *to, const struct snapshot *from)
{
	*to = (struct snapshot){
		.kind = from->kind, .created_ns = from->created_ns, .updated_ns = from->updated_ns};
	to->name = strdup(from->name);
	to->parent = strdup(from->parent);
	return to->name && to->parent ? labels_copy(&to->labels, &from->labels) : -ENOMEM;
}

static int send_infos(struct listing *l)
{
	Containerd__Services__Snapshots__V1__ListSnapshotsResponse response;
	struct shown_info shown[INFOS_PER_MESSAGE] = {0};
	pb_info *list[INFOS_PER_MESSAGE];
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++) {
		r = show_info(&shown[i], &l->snapshots[i]);
		list[i] = &shown[i].info;
	}
	containerd__services__snapshots__v1__list_snapshots_response__init(&response);
	response.info = list;
	response.n_info = l->n;
	if (r == 0 && l->n > 0)
		r = rpc_answer(l->call, &response.base);
	for (size_t i = 0; i < l->n; i++) {
		shown_info_deinit(&shown[i]);
		snapshot_deinit(&l->snapshots[i]);
	}
	l->n = 0;
	return r;
}

static int list_one(void *arg, const struct snapshot *x)
{
	struct listing *l = arg;
	int r = snapshot_copy(&l->snapshots[l->n++], x);

	if (r == 0 && l->n == INFOS_PER_MESSAGE)
		r = send_infos(l);
	return r;
}

DEFINE_CLEANUP(filter, struct filter *, filter_free)

static int list(void *arg, struct rpc *call, struct err *e)
{
	__attribute__((cleanup(cleanup_filter))) struct filter *filter = NULL;
	struct listing l = {.call = call};
	int sent;

	REQUEST(ListSnapshotsRequest, list_snapshots_request);
	r = filter_parse(&filter, request->filters, request->n_filters, e);
	if (r < 0)
		return r;
	r = snapshots_list(snapshots, filter, list_one, &l, e);
	log_outcome("List", road, "", r, e);
	sent = send_infos(&l); /* also frees what is left after an error */
	return r < 0 ? r : sent;
}

static int usage(void *arg, struct rpc *call, struct err *e)
{
	Containerd__Services__Snapshots__V1__UsageResponse response;
	uint64_t size, inodes;

	REQUEST(UsageRequest, usage_request);
	r = snapshots_usage(snapshots, request->key, &size, &inodes, e);
	log_outcome("Usage", road, request->key, r, e);
	if (r < 0)
		return r;
	containerd__services__snapshots__v1__usage_response__init(&response);
	response.size = (int64_t)size;
	response.inodes = (int64_t)inodes;
	return rpc_answer(call, &response.base);
}

#define SERVICE "/containerd.services.snapshots.v1.Snapshots/"

const struct rpc_method snapshots_methods[N_SNAPSHOTS_METHODS] = {
	{SERVICE "Prepare", prepare},
	{SERVICE "View", view},
	{SERVICE "Mounts", mounts},
	{SERVICE "Commit", commit},
	{SERVICE "Remove", remove_snapshot},
	{SERVICE "Stat", stat_snapshot},
	{SERVICE "Update", update},
	{SERVICE "List", list},
	{SERVICE "Usage", usage},
	{SERVICE "Cleanup", cleanup},
};
