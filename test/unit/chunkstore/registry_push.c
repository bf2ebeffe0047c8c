/* SPDX-License-Identifier: Apache-2.0
 * Pushing to a registry that breaks connections and forgets uploads. */
#include "chunkstore/registry.h"
#include "fake_registry.h"

#include <errno.h>

#define SIZE (3u << 20)

static struct fake_registry fake;
static struct registry_client *client;
static struct reference where;
static uint8_t *data;
static struct digest blob;

static void open_all(void)
{
	struct registry_options o = {
		.patience_ms = 3000, .stall_timeout_ms = 1000, .docker_config = "/dev/null/none"};
	char text[64];
	struct err e;

	fake_start(&fake);
	cr_assert_eq(registry_client_open(&client, &o, &e), 0);
	(void)snprintf(text, sizeof(text), "%s/a/b:1", fake.host);
	cr_assert_eq(reference_parse(&where, text, NULL), 0);
	data = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	cr_assert_eq(sha256(&blob, data, SIZE), 0);
}

static void close_all(void)
{
	registry_client_close(client);
	fake_stop(&fake);
	free(data);
}

TestSuite(registry_push, .init = open_all, .fini = close_all, .timeout = 60);

static int read_data(void *arg, void *to, size_t n, uint64_t offset)
{
	memcpy(to, (const uint8_t *)arg + offset, n);
	return 0;
}

static int push(size_t size, const char *mount_from, struct err *e)
{
	struct registry_body body = {read_data, data, size};

	cr_assert_eq(sha256(&blob, data, size), 0);
	return registry_push_blob(client, &where, &blob, &body, mount_from, e);
}

static void expect_stored(size_t size)
{
	char text[DIGEST_TEXT_SIZE];
	const struct fake_blob *b = fake_find(fake.blobs, digest_text(&blob, text));

	cr_assert_not_null(b);
	cr_assert_eq(b->size, size);
	cr_assert_eq(memcmp(b->data, data, size), 0);
}

Test(registry_push, uploads_a_small_blob_in_two_requests)
{
	struct err e = {""};

	cr_assert_eq(push(1000, NULL, &e), 0, "%s", e.text);
	expect_stored(1000);
	cr_assert_eq(fake.patches, 0);
	cr_assert_eq(fake.puts, 1);
}

Test(registry_push, uploads_an_empty_blob)
{
	struct err e = {""};

	cr_assert_eq(push(0, NULL, &e), 0, "%s", e.text);
	expect_stored(0);
}

Test(registry_push, uploads_a_large_blob_in_pieces)
{
	struct err e = {""};

	cr_assert_eq(push(SIZE, NULL, &e), 0, "%s", e.text);
	expect_stored(SIZE);
	cr_assert_eq(fake.patches, 1);
}

Test(registry_push, skips_what_is_there)
{
	struct err e;

	(void)fake_add_blob(&fake, data, SIZE);
	cr_assert_eq(push(SIZE, NULL, &e), REGISTRY_PRESENT);
	cr_assert_eq(fake.posts, 0);
}

Test(registry_push, goes_on_where_an_upload_broke_off)
{
	struct err e = {""};

	FAKE_SET(&fake, cut_upload, 2);
	FAKE_SET(&fake, cut_upload_after, 1200000);
	cr_assert_eq(push(SIZE, NULL, &e), 0, "%s", e.text);
	expect_stored(SIZE);
	cr_assert_eq(fake.posts, 1);
}

Test(registry_push, begins_again_when_the_upload_is_forgotten)
{
	struct err e = {""};

	FAKE_SET(&fake, cut_upload, 1);
	FAKE_SET(&fake, cut_upload_after, 1500000);
	FAKE_SET(&fake, expire_uploads, 1);
	cr_assert_eq(push(SIZE, NULL, &e), 0, "%s", e.text);
	expect_stored(SIZE);
	cr_assert_eq(fake.posts, 2);
}

Test(registry_push, tries_again_after_server_errors)
{
	struct err e = {""};

	FAKE_SET(&fake, fail_status, 502);
	FAKE_SET(&fake, fail_next, 2);
	cr_assert_eq(push(SIZE, NULL, &e), 0, "%s", e.text);
	expect_stored(SIZE);
}

Test(registry_push, gives_up_in_the_end)
{
	struct err e;

	FAKE_SET(&fake, fail_status, 502);
	FAKE_SET(&fake, fail_next, 10000);
	cr_assert_eq(push(1000, NULL, &e), -EAGAIN);
	FAKE_SET(&fake, fail_status, 400);
	cr_assert_eq(push(1000, NULL, &e), -EBADE);
}

Test(registry_push, passes_the_error_of_the_body)
{
	struct registry_body body;
	int fd = -1;
	struct err e;

	body = registry_body_file(&fd, 100);
	cr_assert_eq(registry_push_blob(client, &where, &blob, &body, NULL, &e), -EBADF);
}

Test(registry_push, puts_a_manifest)
{
	struct digest digest, want;
	struct buf bytes;
	struct err e = {""};

	cr_assert_eq(registry_put_manifest(client, &where, OCI_TYPE_MANIFEST, "{\"b\":2}", 7, &e), 0, "%s",
		     e.text);
	buf_init(&bytes, 100);
	cr_assert_eq(registry_get_manifest(client, &where, &bytes, &digest, &e), 0);
	cr_assert_eq(sha256(&want, "{\"b\":2}", 7), 0);
	cr_assert(digest_equal(&want, &digest));
	buf_deinit(&bytes);
}
