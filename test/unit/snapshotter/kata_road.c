/* SPDX-License-Identifier: Apache-2.0
 * Sealed images whose guests mount them: what containerd is told, what the host does not do, and that the two
 * roads do not know of each other. */
#include "snapshotter/kata_volume.h"
#include "test/unit/snapshotter/fake_guestfs.h"
#include "test/unit/snapshotter/sealed_images.h"

#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "proto/base/json.h"

static struct snapshots *kata;
static bool plain_in_guest;

static void open_kata(void)
{
	const struct snapshots_config config = {.root = scratch_path("kata"),
						.road = ROAD_KATA,
						.plain_in_guest = plain_in_guest,
						.sealed = finder};
	struct err e = {""};

	cr_assert_eq(snapshots_open(&kata, &config, &e), 0, "%s", e.text);
	snapshots = kata;
}

static void setup(void)
{
	scratch_open();
	cr_assert_eq(sealed_finder_new(&finder, NULL), 0);
	open_kata();
}

static void teardown(void)
{
	snapshots_close(kata);
	sealed_finder_free(finder);
	scratch_close();
}

TestSuite(kata_road, .init = setup, .fini = teardown, .timeout = 60);

/* What is in the volume: `reference`, and the labels of snapshot `name`. */
static void expect_volume(const char *option, const char *reference, const char *name)
{
	cleanup_snapshot struct snapshot s = {0};
	cleanup_json json_t *volume = NULL;
	cleanup_buf struct buf json;
	struct err e = {""};
	json_t *metadata;

	cr_assert_eq(strncmp(option, KATA_VOLUME_OPTION, strlen(KATA_VOLUME_OPTION)), 0, "%s", option);
	option += strlen(KATA_VOLUME_OPTION);
	buf_init(&json, 65536);
	cr_assert_eq(base64_decode(&json, BASE64_STANDARD, option, strlen(option)), 0);
	cr_assert_eq(json_object_parse(&volume, json.data, json.size, 65536, "volume", &e), 0, "%s", e.text);
	cr_assert_str_eq(json_string_value(json_object_get(volume, "volume_type")), "image_guest_pull");
	cr_assert_str_eq(json_string_value(json_object_get(volume, "source")), reference);
	metadata = json_object_get(json_object_get(volume, "image_pull"), "metadata");
	cr_assert_eq(snapshots_stat(snapshots, name, &s, NULL), 0);
	cr_assert_gt(s.labels.n, 0);
	cr_assert_eq(json_object_size(metadata), s.labels.n);
	for (size_t i = 0; i < s.labels.n; i++)
		cr_assert_str_eq(json_string_value(json_object_get(metadata, s.labels.items[i].key)),
				 s.labels.items[i].value);
}

/* The kata road's mount: the volume first, the stub below. */
static void expect_kata(const struct mount *m, const char *reference, const char *name)
{
	char stub[2 * PATH_MAX];

	cr_assert_str_eq(m->type, "fuse.nydus-overlayfs-cocoon");
	cr_assert_str_eq(m->source, "overlay");
	expect_volume(m->options[0], reference, name);
	(void)snprintf(stub, sizeof(stub), "%s/kata/stub/tree:%s/kata/stub/empty", scratch, scratch);
	cr_assert_str_eq(option(m, "lowerdir="), stub);
}

Test(kata_road, a_container_gets_one_mount_with_the_volume_first)
{
	cleanup_mount struct mount m = {0}, again = {0};

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &m), 0);
	expect_kata(&m, "r.example/x@" MANIFEST, name_of(chains[2]));
	cr_assert_eq(access(option(&m, "upperdir="), F_OK), 0);
	cr_assert_eq(access(option(&m, "workdir="), F_OK), 0);
	cr_assert_eq(snapshots_mounts(kata, "ns/2/c1", &again, NULL), 0);
	cr_assert_eq(again.n_options, m.n_options);
	for (size_t i = 0; i < m.n_options; i++)
		cr_assert_str_eq(again.options[i], m.options[i]);
}

Test(kata_road, a_view_has_nothing_to_write_on)
{
	cleanup_mount struct mount m = {0};

	pull(MANIFEST, chains);
	cr_assert_eq(snapshots_prepare(kata, SNAPSHOT_VIEW, "ns/2/v", name_of(chains[2]), &none, &m, NULL),
		     0);
	expect_kata(&m, "r.example/x@" MANIFEST, name_of(chains[2]));
	cr_assert_null(option(&m, "upperdir="));
	cr_assert_null(option(&m, "workdir="));
}

Test(kata_road, ordinary_images_are_ordinary)
{
	cleanup_mount struct mount first = {0}, second = {0}, container = {0}, view = {0};

	cr_assert_eq(prepare_layer(PLAIN_MANIFEST, chains[0], "", false), 0);
	cr_assert_eq(snapshots_mounts(kata, "ns/1/extract", &first, NULL), 0);
	cr_assert_str_eq(first.type, "bind");
	cr_assert_eq(snapshots_commit(kata, "ns/2/one", "ns/1/extract", &none, NULL), 0);
	cr_assert_eq(prepare("ns/3/extract", "ns/2/one", NULL, &second), 0);
	cr_assert_str_eq(second.type, "overlay");
	cr_assert_eq(snapshots_commit(kata, "ns/4/two", "ns/3/extract", &none, NULL), 0);
	cr_assert_eq(prepare("ns/5/pause", "ns/4/two", NULL, &container), 0);
	cr_assert_str_eq(container.type, "overlay");
	cr_assert_null(option(&container, "io.katacontainers.volume="));
	cr_assert_null(strstr(option(&container, "lowerdir="), "/stub/"));
	cr_assert_eq(snapshots_prepare(kata, SNAPSHOT_VIEW, "ns/6/v", "ns/2/one", &none, &view, NULL), 0);
	cr_assert_str_eq(view.type, "bind");
}

/* Where the host shares no file system: what containerd looks up is still the image's own. */
Test(kata_road, ordinary_images_can_be_left_to_the_guest)
{
	cleanup_mount struct mount unpacked = {0}, container = {0}, view = {0}, unnamed = {0};
	cleanup_labels struct labels labels = {0};

	snapshots_close(kata);
	plain_in_guest = true;
	open_kata();
	cr_assert_eq(labels_set(&labels, LABEL_IMAGE_REF, "r.example/pause:1", NULL), 0);
	cr_assert_eq(prepare("ns/1/extract-1-a sha256:b", "", NULL, NULL), 0);
	cr_assert_eq(snapshots_commit(kata, "ns/2/one", "ns/1/extract-1-a sha256:b", &none, NULL), 0);
	cr_assert_eq(prepare("ns/3/extract-1-a sha256:c", "ns/2/one", NULL, &unpacked), 0);
	cr_assert_str_eq(unpacked.type, "overlay");
	cr_assert_eq(snapshots_commit(kata, "ns/4/two", "ns/3/extract-1-a sha256:c", &labels, NULL), 0);
	cr_assert_eq(prepare("ns/5/pause", "ns/4/two", NULL, &container), 0);
	cr_assert_str_eq(container.type, "fuse.nydus-overlayfs-cocoon");
	expect_volume(container.options[0], "r.example/pause:1", "ns/4/two");
	cr_assert_null(strstr(option(&container, "lowerdir="), "/stub/"));
	cr_assert_eq(snapshots_prepare(kata, SNAPSHOT_VIEW, "ns/6/v", "ns/4/two", &none, &view, NULL), 0);
	cr_assert_str_eq(view.type, "overlay");
	cr_assert_eq(prepare("ns/7/c", "ns/2/one", NULL, &unnamed), 0);
	cr_assert_eq(strncmp(unnamed.options[0], KATA_VOLUME_OPTION, strlen(KATA_VOLUME_OPTION)), 0,
		     "pulled without labels");
}

Test(kata_road, a_layer_that_no_guest_would_see_is_refused)
{
	struct err e = {""};

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, NULL), 0);
	cr_assert_eq(snapshots_commit(kata, "ns/3/mine", "ns/2/c1", &none, &e), -EBUSY);
	cr_assert_not_null(strstr(e.text, "guest"), "%s", e.text);
	cr_assert_eq(snapshots_remove(kata, "ns/2/c1", NULL), 0);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[1]), NULL, NULL), -EINVAL, "half an image");
}

Test(kata_road, usage_and_removal_are_as_everywhere)
{
	uint64_t size = 1, inodes = 1;

	pull(MANIFEST, chains);
	pull(OTHER_MANIFEST, other_chains);
	cr_assert_eq(snapshots_usage(kata, name_of(chains[2]), &size, &inodes, NULL), 0);
	cr_assert_eq(size, 0);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, NULL), 0);
	cr_assert_eq(snapshots_usage(kata, "ns/2/c1", &size, &inodes, NULL), 0);
	cr_assert_eq(inodes, 1, "the upper directory's root");
	cr_assert_eq(snapshots_remove(kata, name_of(chains[2]), NULL), -EBUSY);
	cr_assert_eq(snapshots_remove(kata, "ns/2/c1", NULL), 0);
	for (size_t i = N_LAYERS; i-- > 1;) {
		cr_assert_eq(snapshots_remove(kata, name_of(chains[i]), NULL), 0);
		cr_assert_eq(snapshots_remove(kata, name_of(other_chains[i]), NULL), 0);
	}
	cr_assert_eq(snapshots_remove(kata, name_of(chains[0]), NULL), 0);
	cr_assert_eq(snapshots_cleanup(kata, NULL), 0);
	cr_assert_eq(rmdir(scratch_path("kata/snapshots")), 0, "directories are left");
}

Test(kata_road, a_restart_changes_nothing)
{
	cleanup_mount struct mount before = {0}, after = {0};

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &before), 0);
	snapshots_close(kata);
	open_kata();
	cr_assert_eq(snapshots_mounts(kata, "ns/2/c1", &after, NULL), 0);
	for (size_t i = 0; i < before.n_options; i++)
		cr_assert_str_eq(before.options[i], after.options[i]);
}

Test(kata_road, what_a_guest_is_told_comes_back_after_the_state_was_lost)
{
	static const char manifest[] = MANIFEST;
	cleanup_snapshot struct snapshot s = {0};
	cleanup_mount struct mount m = {0};
	char top[SEALED_NAME_SIZE];

	pull(MANIFEST, chains);
	(void)snprintf(top, sizeof(top), "%s", name_of(chains[2]));
	snapshots_close(kata);
	cr_assert_eq(unlink(scratch_path("kata/snapshots.db")), 0);
	(void)unlink(scratch_path("kata/snapshots.db-wal"));
	(void)unlink(scratch_path("kata/snapshots.db-shm"));
	open_kata();
	cr_assert_eq(prepare("ns/2/c1", top, NULL, &m), 0);
	expect_kata(&m, "r.example/x@" MANIFEST, top);
	cr_assert_eq(snapshots_stat(kata, top, &s, NULL), 0);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_IMAGE_REF), "r.example/x@" MANIFEST);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_MANIFEST_DIGEST), manifest);
	cr_assert_not_null(labels_get(&s.labels, LABEL_LAYER_DIGEST));
}

Test(kata_road, the_same_layers_under_another_manifest_are_told_as_the_newer_one)
{
	static const char newer[] = "sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";
	cleanup_snapshot struct snapshot s = {0};
	cleanup_mount struct mount m = {0};
	char reference[REFERENCE_TEXT_SIZE];

	pull(MANIFEST, chains);
	pull(newer, chains);
	(void)snprintf(reference, sizeof(reference), "r.example/x@%s", newer);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &m), 0);
	expect_kata(&m, reference, name_of(chains[2]));
	cr_assert_eq(snapshots_stat(kata, name_of(chains[2]), &s, NULL), 0);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_MANIFEST_DIGEST), newer);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_REF), chains[2]);
}

static bool keep_none(void *arg, const struct digest *chain)
{
	(void)arg;
	(void)chain;
	return false;
}

/* containerd counts the keys of each snapshotter from one: the same names come twice. */
Test(kata_road, the_other_road_is_another_snapshotter)
{
	cleanup_mount struct mount here = {0}, there = {0};
	struct snapshots_config config = {.root = scratch, .road = ROAD_LOCAL, .sealed = finder};
	struct snapshots *local;

	if (geteuid() != 0)
		cr_skip_test("mounting needs root");
	scratch_close();
	cr_assert(fake_guestfs_make());
	snapshots_close(kata);
	open_kata();
	config.local = fake_guestfs_road();
	cr_assert_eq(snapshots_open(&local, &config, NULL), 0);

	pull(MANIFEST, chains);
	cr_assert_eq(local_road_count(config.local), 0, "nothing is mounted for a guest");
	snapshots = local;
	pull(MANIFEST, chains);
	cr_assert_eq(local_road_count(config.local), 1);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &here), 0);
	snapshots = kata;
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &there), 0);
	cr_assert_str_eq(here.type, "overlay");
	expect_kata(&there, "r.example/x@" MANIFEST, name_of(chains[2]));
	cr_assert_str_neq(option(&here, "upperdir="), option(&there, "upperdir="));

	/* What is removed from one stays in the other, also when it collects. */
	cr_assert_eq(snapshots_remove(kata, "ns/2/c1", NULL), 0);
	for (size_t i = N_LAYERS; i-- > 0;)
		cr_assert_eq(snapshots_remove(kata, name_of(chains[i]), NULL), 0);
	cr_assert_eq(snapshots_cleanup(kata, NULL), 0);
	cr_assert_eq(local_road_count(config.local), 1);
	snapshots = local;
	(void)name_of(chains[2]);
	cr_assert_eq(access(option(&here, "upperdir="), F_OK), 0);

	snapshots_close(local);
	(void)local_road_sweep(config.local, keep_none, NULL, NULL);
	local_road_close(config.local);
}
