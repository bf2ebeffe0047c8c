/* SPDX-License-Identifier: Apache-2.0
 * An image appears in a layout whole or not at all, and what was there before stays. */
#include "publisher/layout_writer.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/repository.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(layout_writer, .init = scratch_open, .fini = scratch_close);

static struct err e;

static struct waiting_blob waiting(const char *text)
{
	struct waiting_blob b = {.blob = {.size = strlen(text)},
				 .fd = open(scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};

	cr_assert(b.fd >= 0);
	cr_assert_eq(write_full(b.fd, text, strlen(text)), 0);
	cr_assert_eq(sha256(&b.blob.digest, text, strlen(text)), 0);
	return b;
}

/* A manifest whose config is `blob`. */
static char *manifest_of(const struct waiting_blob *blob)
{
	char digest[DIGEST_TEXT_SIZE], *json;

	(void)digest_text(&blob->blob.digest, digest);
	cr_assert(asprintf(&json,
			   "{\"schemaVersion\":2,\"mediaType\":\"" OCI_TYPE_MANIFEST
			   "\",\"config\":{\"mediaType\":\"" OCI_TYPE_CONFIG
			   "\",\"digest\":\"%s\",\"size\":%lu},\"layers\":[{\"mediaType\":\"a/"
			   "b\",\"digest\":\"%s\",\"size\":%lu}]}",
			   digest, blob->blob.size, digest, blob->blob.size) > 0);
	return json;
}

static int write_image(const char *tag, const char *text, struct destination_stats *stats)
{
	const struct oci_platform platform = {"linux", "amd64", ""};
	struct waiting_blob blob = waiting(text);
	cleanup_free char *json = manifest_of(&blob);
	int r;

	*stats = (struct destination_stats){0};
	r = layout_write(scratch_path("layout"), tag, &blob, 1, json, strlen(json), &platform, stats, &e);
	(void)close(blob.fd);
	return r;
}

/* The config of the image that is called `tag`. */
static char *read_image(const char *tag)
{
	struct reference ref = {.layout = true};
	struct oci_platform platform = {"linux", "amd64", ""};
	cleanup_buf struct buf json = {.max = 1 << 20}, config = {.max = 1000};
	struct repository *repository;
	struct oci_manifest m;
	struct digest digest;

	(void)snprintf(ref.path, sizeof(ref.path), "%s", scratch_path("layout"));
	(void)snprintf(ref.tag, sizeof(ref.tag), "%s", tag);
	cr_assert_eq(repository_open(&repository, &ref, &(struct remote){0}, &e), 0, "%s", e.text);
	if (repository_manifest(repository, &platform, &json, &digest, &m, &e) < 0) {
		repository_close(repository);
		return NULL;
	}
	cr_assert_eq(repository_read(repository, &m.config, &config, &e), 0, "%s", e.text);
	oci_manifest_deinit(&m);
	repository_close(repository);
	return strndup((const char *)config.data, config.size);
}

Test(layout_writer, makes_adds_and_replaces)
{
	struct destination_stats stats;
	cleanup_free char *one = NULL, *two = NULL;

	cr_assert_eq(write_image("one", "first", &stats), 0, "%s", e.text);
	cr_expect_eq(stats.blobs, 1u);
	cr_expect_eq(stats.blobs_present, 0u);
	cr_assert_eq(write_image("two", "first", &stats), 0, "%s", e.text);
	cr_expect_eq(stats.blobs_present, 1u);
	cr_expect_eq(stats.bytes_saved, 5u);
	cr_assert_eq(write_image("one", "second", &stats), 0, "%s", e.text);
	one = read_image("one");
	two = read_image("two");
	cr_expect_str_eq(one, "second");
	cr_expect_str_eq(two, "first");
	cr_expect_null(read_image("three"));
}

Test(layout_writer, mends_a_blob_of_the_wrong_size)
{
	struct destination_stats stats;
	struct waiting_blob blob = waiting("content");
	char path[LAYOUT_BLOB_PATH_SIZE], at[PATH_MAX];
	cleanup_free char *got = NULL;

	cr_assert_eq(write_image("a", "content", &stats), 0);
	(void)snprintf(at, sizeof(at), "%s/%s", scratch_path("layout"),
		       layout_blob_path(&blob.blob.digest, path));
	cr_assert_eq(truncate(at, 3), 0);
	cr_assert_eq(write_image("a", "content", &stats), 0);
	got = read_image("a");
	cr_expect_str_eq(got, "content");
	(void)close(blob.fd);
}

Test(layout_writer, copies_what_cannot_be_linked)
{
	const struct oci_platform platform = {"linux", "amd64", ""};
	struct destination_stats stats = {0};
	struct waiting_blob blob = waiting("from a file whose name is gone");
	cleanup_free char *json = manifest_of(&blob), *got = NULL;
	const char *path = scratch_path("gone");

	(void)close(blob.fd);
	blob.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write_full(blob.fd, "from a file whose name is gone", 30), 0);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(layout_write(scratch_path("layout"), "a", &blob, 1, json, strlen(json), &platform,
				  &stats, &e),
		     0, "%s", e.text);
	got = read_image("a");
	cr_expect_str_eq(got, "from a file whose name is gone");
	(void)close(blob.fd);
}

Test(layout_writer, takes_back_what_it_made_when_it_fails)
{
	const struct oci_platform platform = {"linux", "amd64", ""};
	struct destination_stats stats = {0};
	struct waiting_blob blobs[2] = {waiting("good"), {.blob = {.size = 4, .digest = {{1}}}, .fd = -1}};

	cr_expect_lt(layout_write(scratch_path("layout"), "x", blobs, 2, "{}", 2, &platform, &stats, &e), 0);
	cr_expect_neq(access(scratch_path("layout"), F_OK), 0);

	/* and in a layout that was there, only that */
	cr_assert_eq(write_image("kept", "old", &stats), 0);
	cr_expect_lt(layout_write(scratch_path("layout"), "x", blobs, 2, "{}", 2, &platform, &stats, &e), 0);
	cleanup_free char *old = read_image("kept");

	cr_expect_str_eq(old, "old");
	cr_expect_null(read_image("x"));
	char path[LAYOUT_BLOB_PATH_SIZE], at[PATH_MAX];

	(void)snprintf(at, sizeof(at), "%s/%s", scratch_path("layout"),
		       layout_blob_path(&blobs[0].blob.digest, path));
	cr_expect_neq(access(at, F_OK), 0);
	(void)close(blobs[0].fd);
}

Test(layout_writer, refuses_a_directory_that_is_no_layout)
{
	char temp_dir[4096];

	cr_assert_eq(file_write(AT_FDCWD, scratch_path("something"), "x", 1, 0600, &e), 0);
	cr_expect_eq(layout_prepare(scratch, temp_dir, &e), -EEXIST);
	cr_expect_eq(layout_prepare(scratch_path("something"), temp_dir, &e), -ENOTDIR);
	cr_expect_eq(layout_prepare(scratch_path("new"), temp_dir, &e), 0);
	cr_expect_eq(layout_prepare(scratch_path("new//"), temp_dir, &e), 0);
	cr_expect_eq(layout_prepare(scratch_path("not/there"), temp_dir, &e), -ENOENT);
}
