/* SPDX-License-Identifier: Apache-2.0
 * The ten calls over real directories, with an image store and a guestfs of the test's own: what sealed
 * layers are to containerd, mixed with ordinary ones, and what comes back after the state was lost. */
#include "snapshotter/snapshots.h"
#include "test/unit/snapshotter/fake_guestfs.h"
#include "test/unit/snapshotter/sealed_images.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static struct local_road *road;

static void open_all(void)
{
	struct err e = {""};

	road = fake_guestfs_road();
	cr_assert_eq(sealed_finder_new(&finder, NULL), 0);
	cr_assert_eq(
		snapshots_open(&snapshots,
			       &(struct snapshots_config){
				       .root = scratch, .road = ROAD_LOCAL, .local = road, .sealed = finder},
			       &e),
		0, "%s", e.text);
}

static void close_all(void)
{
	snapshots_close(snapshots);
	sealed_finder_free(finder);
	local_road_close(road);
}

static bool keep_none(void *arg, const struct digest *chain)
{
	(void)arg;
	(void)chain;
	return false;
}

static void setup(void)
{
	if (!fake_guestfs_make())
		cr_skip_test("mounting needs root");
	open_all();
}

static void teardown(void)
{
	close_all(); /* waits for what is mounted ahead */
	if (road) {
		road = fake_guestfs_road();
		(void)local_road_sweep(road, keep_none, NULL, NULL);
		local_road_close(road);
	}
	scratch_close();
}

TestSuite(snapshots, .init = setup, .fini = teardown, .timeout = 60);

Test(snapshots, a_sealed_image_is_there_at_once_and_mounted_when_its_last_layer_is)
{
	cleanup_snapshot struct snapshot s = {0};
	uint64_t size, inodes;

	pull(MANIFEST, chains);
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(snapshots_stat(snapshots, name_of(chains[2]), &s, NULL), 0);
	cr_assert_eq(s.kind, SNAPSHOT_COMMITTED);
	cr_assert_str_eq(s.image, "r.example/x@" MANIFEST);
	cr_assert_str_eq(s.parent, name_of(chains[1]));
	cr_assert_eq(snapshots_usage(snapshots, name_of(chains[2]), &size, &inodes, NULL), 0);
	cr_assert_eq(size, 0);
}

Test(snapshots, the_image_is_mounted_while_its_layers_are_asked_for)
{
	cr_assert_eq(prepare_layer(MANIFEST, chains[0], "", true), -EEXIST);
	for (int i = 0; i < 500 && local_road_count(road) == 0; i++)
		(void)usleep(10000);
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(snapshots_remove(snapshots, name_of(chains[0]), NULL), 0);
	for (int i = 0; i < 500 && local_road_count(road) > 0; i++) {
		cr_assert_eq(snapshots_cleanup(snapshots, NULL), 0);
		(void)usleep(10000);
	}
	cr_assert_eq(local_road_count(road), 0, "nobody came for it");
}

Test(snapshots, containers_of_a_sealed_image_are_overlays_on_its_mount)
{
	cleanup_mount struct mount a = {0}, again = {0}, view = {0};
	char path[PATH_MAX];
	struct stat st;
	FILE *f;

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &a), 0);
	cr_assert_str_eq(a.type, "overlay");
	cr_assert_not_null(strstr(option(&a, "lowerdir="), "/mounts/"));
	cr_assert_null(strchr(option(&a, "lowerdir="), ':'));
	cr_assert_not_null(option(&a, "workdir="));
	cr_assert_eq(stat(option(&a, "upperdir="), &st), 0);
	cr_assert_eq(st.st_mode & 07777, 01775, "the image's root shows through");
	cr_assert_eq(snapshots_mounts(snapshots, "ns/2/c1", &again, NULL), 0);
	cr_assert_str_eq(option(&again, "upperdir="), option(&a, "upperdir="));

	cr_assert_eq(
		snapshots_prepare(snapshots, SNAPSHOT_VIEW, "ns/3/v", name_of(chains[2]), &none, &view, NULL),
		0);
	cr_assert_str_eq(view.type, "bind");
	cr_assert_not_null(option(&view, "ro"));
	cr_assert_str_eq(view.source, option(&a, "lowerdir="));
	(void)snprintf(path, sizeof(path), "%s/ref", view.source);
	f = fopen(path, "r");
	cr_assert_not_null(fgets(path, sizeof(path), f));
	(void)fclose(f);
	cr_assert_str_eq(path, "r.example/x@" MANIFEST "\n");
}

Test(snapshots, ordinary_layers_stand_on_a_sealed_image)
{
	cleanup_mount struct mount a = {0}, view = {0};
	const char *lower;

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, NULL), 0);
	cr_assert_eq(snapshots_commit(snapshots, "ns/3/committed", "ns/2/c1", &none, NULL), 0);
	cr_assert_eq(prepare("ns/4/c2", "ns/3/committed", NULL, &a), 0);
	lower = option(&a, "lowerdir=");
	cr_assert_not_null(strstr(lower, "/snapshots/"));
	cr_assert_not_null(strstr(strchr(lower, ':'), "/mounts/"), "the image is below: %s", lower);
	cr_assert_eq(
		snapshots_prepare(snapshots, SNAPSHOT_VIEW, "ns/5/v", "ns/3/committed", &none, &view, NULL),
		0);
	cr_assert_str_eq(view.type, "overlay");
	cr_assert_null(option(&view, "upperdir="));
}

Test(snapshots, one_layer_of_a_sealed_image_cannot_be_used)
{
	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[1]), NULL, NULL), -EINVAL);
}

Test(snapshots, images_share_layers)
{
	pull(MANIFEST, chains);
	pull(OTHER_MANIFEST, other_chains);
	cr_assert_eq(local_road_count(road), 2);
	cr_assert_eq(snapshots_remove(snapshots, name_of(chains[2]), NULL), 0);
	cr_assert_eq(snapshots_remove(snapshots, name_of(chains[1]), NULL), 0);
	cr_assert_eq(snapshots_remove(snapshots, name_of(chains[0]), NULL), -EBUSY);
	cr_assert_eq(snapshots_cleanup(snapshots, NULL), 0);
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(prepare("ns/2/c1", name_of(other_chains[2]), NULL, NULL), 0);
}

Test(snapshots, nothing_is_left_when_an_image_goes)
{
	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, NULL), 0);
	cr_assert_eq(snapshots_remove(snapshots, name_of(chains[2]), NULL), -EBUSY);
	cr_assert_eq(snapshots_remove(snapshots, "ns/2/c1", NULL), 0);
	for (size_t i = N_LAYERS; i-- > 0;)
		cr_assert_eq(snapshots_remove(snapshots, name_of(chains[i]), NULL), 0);
	cr_assert_eq(snapshots_cleanup(snapshots, NULL), 0);
	cr_assert_eq(local_road_count(road), 0);
	cr_assert_eq(rmdir(scratch_path("snapshots")), 0, "directories are left");
	cr_assert_eq(rmdir(scratch_path("mounts")), 0, "mounts are left");
}

Test(snapshots, the_same_layers_under_another_manifest_are_the_same_snapshots)
{
	cleanup_snapshot struct snapshot s = {0};

	pull(MANIFEST, chains);
	pull("sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", chains);
	cr_assert_eq(snapshots_stat(snapshots, name_of(chains[2]), &s, NULL), 0);
	cr_assert_str_eq(
		s.image,
		"r.example/x@sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
	cr_assert_eq(local_road_count(road), 1);
}

Test(snapshots, labels_are_believed_only_when_the_image_agrees)
{
	pull(MANIFEST, chains);
	cr_assert_eq(prepare_layer(MANIFEST, CHAIN("77"), "", true), -EINVAL, "no such layer");
	cr_assert_eq(prepare_layer(MANIFEST, chains[0], name_of(chains[1]), true), -EINVAL,
		     "the first has no parent");
	cr_assert_eq(prepare_layer(MANIFEST, chains[1], "", true), -EINVAL, "the second has one");
	cr_assert_eq(prepare_layer(OTHER_MANIFEST, other_chains[2], name_of(chains[1]), true), -EINVAL,
		     "another's");
	cr_assert_eq(prepare_layer(PLAIN_MANIFEST, chains[0], "", true), -EINVAL, "not sealed");
	cr_assert_eq(prepare_layer(LOST_MANIFEST, chains[0], "", true), -EAGAIN, "not to be had");
}

Test(snapshots, on_doubt_a_snapshot_is_ordinary)
{
	cr_assert_eq(prepare_layer(PLAIN_MANIFEST, chains[0], "", false), 0);
	cr_assert_eq(snapshots_remove(snapshots, "ns/1/extract", NULL), 0);
	cr_assert_eq(asked, 1);
	cr_assert_eq(prepare_layer(PLAIN_MANIFEST, chains[1], "", false), 0);
	cr_assert_eq(snapshots_remove(snapshots, "ns/1/extract", NULL), 0);
	cr_assert_eq(asked, 1, "asked once for an image that is not sealed");
	cr_assert_eq(prepare_layer(LOST_MANIFEST, chains[0], "", false), 0);
	cr_assert_eq(snapshots_remove(snapshots, "ns/1/extract", NULL), 0);
	cr_assert_eq(prepare_layer("not a digest", chains[0], "", false), 0);
}

Test(snapshots, a_failing_mount_fails_the_pull_with_its_words)
{
	cleanup_labels struct labels l = {0};
	struct mount m = {0};
	struct err e = {""};

	fake_guestfs_set("fail", true);
	cr_assert_eq(prepare_layer(MANIFEST, chains[0], "", true), -EEXIST);
	cr_assert_eq(prepare_layer(MANIFEST, chains[1], name_of(chains[0]), true), -EEXIST);
	cr_assert_eq(labels_set(&l, LABEL_REF, chains[2], NULL), 0);
	cr_assert_eq(labels_set(&l, LABEL_IMAGE_REF, "r.example/x:1", NULL), 0);
	cr_assert_eq(labels_set(&l, LABEL_MANIFEST_DIGEST, MANIFEST, NULL), 0);
	cr_assert_eq(snapshots_prepare(snapshots, SNAPSHOT_ACTIVE, "k", name_of(chains[1]), &l, &m, &e),
		     -EIO);
	cr_assert_not_null(strstr(e.text, "no key fits"), "%s", e.text);
	fake_guestfs_set("fail", false);
	cr_assert_eq(prepare_layer(MANIFEST, chains[2], name_of(chains[1]), false), -EEXIST);
}

Test(snapshots, a_restart_changes_nothing)
{
	cleanup_mount struct mount before = {0}, after = {0};

	pull(MANIFEST, chains);
	cr_assert_eq(prepare("ns/2/c1", name_of(chains[2]), NULL, &before), 0);
	close_all();
	open_all();
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(snapshots_mounts(snapshots, "ns/2/c1", &after, NULL), 0);
	cr_assert_str_eq(option(&before, "upperdir="), option(&after, "upperdir="));
	cr_assert_eq(access(option(&after, "upperdir="), F_OK), 0);
}

Test(snapshots, sealed_layers_come_back_after_the_state_was_lost)
{
	char top[SEALED_NAME_SIZE], base[SEALED_NAME_SIZE];
	cleanup_snapshot struct snapshot s = {0}, b = {0};
	cleanup_mount struct mount m = {0};

	pull(MANIFEST, chains);
	(void)snprintf(top, sizeof(top), "%s", name_of(chains[2]));
	(void)snprintf(base, sizeof(base), "%s", name_of(chains[0]));
	close_all();
	cr_assert_eq(unlink(scratch_path("snapshots.db")), 0);
	(void)unlink(scratch_path("snapshots.db-wal"));
	(void)unlink(scratch_path("snapshots.db-shm"));
	open_all();
	cr_assert_eq(local_road_count(road), 0, "nobody needs the mount any more");

	cr_assert_eq(prepare("ns/2/c1", top, NULL, &m), 0, "containerd asks for a container");
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(snapshots_stat(snapshots, top, &s, NULL), 0);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_REF), chains[2]);
	cr_assert_eq(snapshots_stat(snapshots, base, &b, NULL), 0);
	cr_assert_eq(snapshots_stat(snapshots, "sealed/" CHAIN("77") "/r.example/x@" MANIFEST, &s, NULL),
		     -EINVAL);
	cr_assert_eq(snapshots_stat(snapshots, "sealed/nonsense", &s, NULL), -ENOENT);
	cr_assert_eq(snapshots_stat(snapshots, "ns/9/gone", &s, NULL), -ENOENT);
}

Test(snapshots, the_label_that_containerd_searches_cannot_be_taken_away)
{
	cleanup_snapshot struct snapshot s = {0};

	pull(MANIFEST, chains);
	cr_assert_eq(snapshots_update(snapshots, name_of(chains[0]), &none, NULL, 0, &s, NULL), 0);
	cr_assert_str_eq(labels_get(&s.labels, LABEL_REF), chains[0]);
}

static void *prepare_last(void *arg)
{
	int *r = arg;
	cleanup_labels struct labels l = {0};
	char parent[SEALED_NAME_SIZE];
	struct mount m = {0};
	struct err e = {""};

	(void)snprintf(parent, sizeof(parent), "sealed/%s/r.example/x@%s", chains[1], MANIFEST);
	(void)labels_set(&l, LABEL_REF, chains[2], NULL);
	(void)labels_set(&l, LABEL_IMAGE_REF, "r.example/x:1", NULL);
	(void)labels_set(&l, LABEL_MANIFEST_DIGEST, MANIFEST, NULL);
	*r = snapshots_prepare(snapshots, SNAPSHOT_ACTIVE, "k", parent, &l, &m, &e);
	mount_deinit(&m);
	return NULL;
}

Test(snapshots, many_pulls_at_once_give_one_image)
{
	pthread_t threads[8];
	int results[8];

	cr_assert_eq(prepare_layer(MANIFEST, chains[0], "", true), -EEXIST);
	cr_assert_eq(prepare_layer(MANIFEST, chains[1], name_of(chains[0]), true), -EEXIST);
	for (size_t i = 0; i < 8; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, prepare_last, &results[i]), 0);
	for (size_t i = 0; i < 8; i++) {
		(void)pthread_join(threads[i], NULL);
		cr_assert_eq(results[i], -EEXIST);
	}
	(void)name_of(chains[2]);
	cr_assert_eq(local_road_count(road), 1);
}
