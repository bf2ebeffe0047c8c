/* SPDX-License-Identifier: Apache-2.0
 * One process for each image, found again after a restart, mounted again after its death, gone with the last
 * need. */
#include "snapshotter/local_road.h"
#include "snapshotter/mount_table.h"
#include "test/unit/snapshotter/fake_guestfs.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mount.h>

static const struct digest one = {{1}}, two = {{2}};
static struct local_road *road;

static bool keep_none(void *arg, const struct digest *chain)
{
	(void)arg;
	(void)chain;
	return false;
}

static bool keep_one(void *arg, const struct digest *chain)
{
	(void)arg;
	return digest_equal(chain, &one);
}

static void setup(void)
{
	if (!fake_guestfs_make())
		cr_skip_test("mounting needs root");
	road = fake_guestfs_road();
}

static void teardown(void)
{
	if (road)
		(void)local_road_sweep(road, keep_none, NULL, NULL);
	local_road_close(road);
	scratch_close();
}

TestSuite(local_road, .init = setup, .fini = teardown, .timeout = 60);

static size_t calls(void)
{
	FILE *f = fopen(scratch_path("calls"), "r");
	size_t n = 0;

	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	if (f)
		(void)fclose(f);
	return n;
}

static void *mount_and_release(void *arg)
{
	char path[PATH_MAX];
	int *result = arg;

	*result = local_road_mount(road, &one, "r/x@sha256:1", path, NULL);
	if (*result == 0)
		local_road_release(road, &one);
	return NULL;
}

Test(local_road, mounts_once_and_passes_what_it_was_told)
{
	char path[PATH_MAX], again[PATH_MAX], line[512];
	struct err e = {""};
	FILE *f;

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, &e), 0, "%s", e.text);
	cr_assert_eq(mount_table_has(path, NULL), 1);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", again, &e), 0, "%s", e.text);
	cr_assert_str_eq(path, again);
	cr_assert_eq(calls(), 1);
	cr_assert_eq(local_road_count(road), 1);
	local_road_release(road, &one);
	local_road_release(road, &one);

	f = fopen(scratch_path("calls"), "r");
	cr_assert_not_null(fgets(line, sizeof(line), f));
	(void)fclose(f);
	cr_assert_not_null(strstr(line,
				  "--host unix:/chunks --key file:/a key --key recipient:/b --front auto "
				  "--cache-size 1000 r/x@sha256:1 "));
}

Test(local_road, what_is_held_or_kept_is_not_swept)
{
	char path[PATH_MAX];

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	cr_assert_eq(local_road_mount(road, &two, "r/y@sha256:2", path, NULL), 0);
	cr_assert_eq(local_road_sweep(road, keep_none, NULL, NULL), 0);
	cr_assert_eq(local_road_count(road), 2);
	local_road_release(road, &one);
	local_road_release(road, &two);
	cr_assert_eq(local_road_sweep(road, keep_one, NULL, NULL), 0);
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(mount_table_has(path, NULL), 0);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(local_road, a_restarted_daemon_finds_its_mounts)
{
	char path[PATH_MAX];

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	local_road_release(road, &one);
	local_road_close(road);
	road = fake_guestfs_road();
	cr_assert_eq(local_road_sweep(road, keep_one, NULL, NULL), 0);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	local_road_release(road, &one);
	cr_assert_eq(calls(), 1);
}

Test(local_road, a_dead_process_is_replaced)
{
	char path[PATH_MAX];

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	fake_guestfs_set("die", true);
	for (int i = 0; i < 500 && local_road_count(road) > 0; i++)
		(void)usleep(10000);
	cr_assert_eq(local_road_count(road), 0);
	fake_guestfs_set("die", false);
	cr_assert_eq(mount_table_has(path, NULL), 1, "the mount of the dead one is still there");
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	cr_assert_eq(local_road_count(road), 1);
	cr_assert_eq(calls(), 2);
	local_road_release(road, &one);
	local_road_release(road, &one);
}

Test(local_road, somebody_elses_umount_is_healed)
{
	char path[PATH_MAX];

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	cr_assert_eq(umount(path), 0);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, NULL), 0);
	cr_assert_eq(mount_table_has(path, NULL), 1);
	local_road_release(road, &one);
	local_road_release(road, &one);
}

Test(local_road, failures_are_told_in_guestfs_words)
{
	char path[PATH_MAX];
	struct err e = {""};

	fake_guestfs_set("fail", true);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, &e), -EIO);
	cr_assert_str_eq(e.text, "mounting r/x@sha256:1: no key fits");
	fake_guestfs_set("fail", false);

	fake_guestfs_set("nothing", true);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, &e), -EIO);
	cr_assert_not_null(strstr(e.text, "mounted nothing"));
	fake_guestfs_set("nothing", false);

	fake_guestfs_set("hang", true);
	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, &e), -ETIMEDOUT);
	fake_guestfs_set("hang", false);

	cr_assert_eq(local_road_mount(road, &one, "r/x@sha256:1", path, &e), 0, "%s", e.text);
	local_road_release(road, &one);
}

Test(local_road, a_mount_under_way_can_be_cancelled)
{
	pthread_t thread;
	int result;

	fake_guestfs_set("hang", true);
	cr_assert_eq(pthread_create(&thread, NULL, mount_and_release, &result), 0);
	while (calls() == 0)
		(void)usleep(1000);
	local_road_cancel(road);
	(void)pthread_join(thread, NULL);
	cr_assert_eq(result, -ECANCELED);
}

Test(local_road, many_at_once_share_one_mount)
{
	pthread_t threads[16];
	int results[16];

	for (size_t i = 0; i < 16; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, mount_and_release, &results[i]), 0);
	for (size_t i = 0; i < 16; i++) {
		(void)pthread_join(threads[i], NULL);
		cr_assert_eq(results[i], 0);
	}
	cr_assert_eq(calls(), 1);
}

Test(mount_table, finds_what_has_odd_characters_in_its_name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s", scratch_path("a b\\c\td"));
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(mount_table_has(path, NULL), 0);
	cr_assert_eq(mount("x", path, "tmpfs", 0, NULL), 0);
	cr_assert_eq(mount("y", path, "tmpfs", 0, NULL), 0);
	cr_assert_eq(mount_table_has(path, NULL), 1);
	cr_assert_eq(mount_table_unmount(path, NULL), 0, "both of them");
	cr_assert_eq(mount_table_has(path, NULL), 0);
	cr_assert_eq(mount_table_unmount(path, NULL), 0);
}

TestSuite(mount_table, .init = setup, .fini = teardown, .timeout = 60);
