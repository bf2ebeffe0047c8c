/* SPDX-License-Identifier: Apache-2.0
 * Reading from a registry that misbehaves in every way we know. */
#include "chunkstore/registry.h"
#include "../scratch.h"
#include "fake_registry.h"

#include <errno.h>
#include <pthread.h>

#define SIZE 300000u

static struct fake_registry fake;
static struct registry_client *client;
static struct reference where;
static uint8_t *data;
static struct digest blob;

struct got {
	uint8_t bytes[SIZE];
	size_t size;
	int error;
};
static struct got got;

static int take(void *arg, const void *p, size_t n)
{
	struct got *g = arg;

	if (g->error)
		return g->error;
	cr_assert_leq(g->size + n, sizeof(g->bytes));
	memcpy(g->bytes + g->size, p, n);
	g->size += n;
	return 0;
}

static void open_client(const struct registry_options *o)
{
	struct err e;

	cr_assert_eq(registry_client_open(&client, o, &e), 0, "%s", e.text);
}

static void open_all(void)
{
	char text[64];

	scratch_open();
	fake_start(&fake);
	open_client(&(struct registry_options){
		.patience_ms = 3000, .stall_timeout_ms = 1000, .docker_config = scratch_path("config.json")});
	(void)snprintf(text, sizeof(text), "%s/a/b:1", fake.host);
	cr_assert_eq(reference_parse(&where, text, NULL), 0);
	data = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	blob = fake_add_blob(&fake, data, SIZE);
}

static void close_all(void)
{
	registry_client_close(client);
	fake_stop(&fake);
	free(data);
	scratch_close();
}

TestSuite(registry, .init = open_all, .fini = close_all, .timeout = 60);

static int get_range(uint64_t offset, uint64_t n, struct err *e)
{
	got.size = 0;
	return registry_get_range(client, &where, &blob, offset, n, take, &got, e);
}

static void expect_range(uint64_t offset, size_t n)
{
	struct err e = {""};

	cr_assert_eq(get_range(offset, n, &e), 0, "%s", e.text);
	cr_assert_eq(got.size, n);
	cr_assert_eq(memcmp(got.bytes, data + offset, n), 0);
}

static int get_blob(struct err *e)
{
	struct oci_blob b = {.digest = blob, .size = SIZE};

	got.size = 0;
	return registry_get_blob(client, &where, &b, take, &got, e);
}

static void write_config(const char *format)
{
	char text[1024];
	FILE *f = fopen(scratch_path("config.json"), "w");

	(void)snprintf(text, sizeof(text), "{\"auths\":{\"%s\":{%s}}}", fake.host, format);
	cr_assert_not_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

Test(registry, reads_ranges_over_one_connection)
{
	expect_range(0, 1);
	expect_range(1000, 5000);
	expect_range(SIZE - 1, 1);
	expect_range(0, SIZE);
	/* the first attempt speaks TLS and learns that it must not */
	cr_assert_leq(fake_count(&fake, &fake.connections), 2);
}

static int ignore(void *arg, const void *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
	return 0;
}

static void *first_call(void *arg)
{
	int *r = arg;
	struct err e;

	*r = registry_get_range(client, &where, &blob, 0, 100, ignore, NULL, &e);
	return NULL;
}

/* The fake speaks plain HTTP on loopback: TLS is tried first, and every thread meets the refusal on its own.
 */
Test(registry, finds_out_about_plain_http_from_many_threads_at_once)
{
	pthread_t threads[8];
	int results[8];

	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < 8; i++)
			cr_assert_eq(pthread_create(&threads[i], NULL, first_call, &results[i]), 0);
		for (size_t i = 0; i < 8; i++) {
			pthread_join(threads[i], NULL);
			cr_expect_eq(results[i], 0);
		}
		registry_client_close(client);
		open_client(&(struct registry_options){.patience_ms = 3000,
						       .stall_timeout_ms = 1000,
						       .docker_config = scratch_path("config.json")});
	}
}

Test(registry, refuses_a_range_of_nothing)
{
	struct err e;

	cr_assert_eq(get_range(0, 0, &e), -EINVAL);
	cr_assert_eq(get_range(UINT64_MAX, 2, &e), -EINVAL);
}

Test(registry, refuses_a_range_past_the_end)
{
	struct err e;

	cr_assert_eq(get_range(SIZE, 1, &e), -EBADE);
	cr_assert_eq(get_range(SIZE - 1, 2, &e), -EBADE);
}

Test(registry, goes_on_where_a_range_broke_off)
{
	FAKE_SET(&fake, cut_after, 70000);
	FAKE_SET(&fake, cut_next, 3);
	expect_range(100, 290000);
	cr_assert_str_eq(fake.last_range, "bytes=210100-290099");
}

Test(registry, gives_up_a_range_that_makes_no_progress)
{
	struct err e;

	FAKE_SET(&fake, cut_next, 1000);
	FAKE_SET(&fake, cut_after, 0);
	cr_assert_eq(get_range(0, 10, &e), -EAGAIN);
}

Test(registry, tries_again_after_server_errors)
{
	FAKE_SET(&fake, fail_status, 503);
	FAKE_SET(&fake, fail_next, 3);
	expect_range(5, 10);
}

Test(registry, obeys_retry_after_within_its_patience)
{
	struct err e;

	FAKE_SET(&fake, fail_status, 429);
	FAKE_SET(&fake, retry_after, 1);
	FAKE_SET(&fake, fail_next, 1);
	expect_range(5, 10);
	FAKE_SET(&fake, retry_after, 3000);
	FAKE_SET(&fake, fail_next, 1);
	cr_assert_eq(get_range(5, 10, &e), -EAGAIN);
	cr_assert_not_null(strstr(e.text, "429"));
}

Test(registry, gives_up_a_registry_that_does_not_answer)
{
	struct err e;

	FAKE_SET(&fake, stall_next, 1000);
	cr_assert_eq(get_range(5, 10, &e), -EAGAIN);
}

Test(registry, reports_what_is_missing_or_refused)
{
	struct digest other = blob;
	struct err e;

	other.bytes[0] ^= 1;
	cr_assert_eq(registry_has_blob(client, &where, &blob, NULL, &e), 0);
	cr_assert_eq(registry_has_blob(client, &where, &other, NULL, &e), -ENOENT);
	FAKE_SET(&fake, fail_status, 403);
	FAKE_SET(&fake, fail_next, 1);
	cr_assert_eq(get_range(0, 1, &e), -EACCES);
	cr_assert_not_null(strstr(e.text, "oops"));
	FAKE_SET(&fake, fail_status, 418);
	FAKE_SET(&fake, fail_next, 1);
	cr_assert_eq(get_range(0, 1, &e), -EBADE);
}

Test(registry, skips_to_a_range_when_the_whole_blob_comes)
{
	FAKE_SET(&fake, no_ranges, true);
	expect_range(12345, 100);
	expect_range(0, 10);
}

Test(registry, refuses_another_range_than_asked)
{
	struct err e;

	FAKE_SET(&fake, wrong_range, true);
	cr_assert_eq(get_range(10, 10, &e), -EBADE);
	FAKE_SET(&fake, wrong_range, false);
	FAKE_SET(&fake, no_content_range, true);
	cr_assert_eq(get_range(10, 10, &e), -EBADE);
}

Test(registry, refuses_endless_headers)
{
	struct err e;

	expect_range(0, 1);
	FAKE_SET(&fake, huge_header, true);
	cr_assert_eq(get_range(0, 1, &e), -E2BIG, "%s", e.text);
}

Test(registry, passes_the_error_of_the_sink)
{
	struct err e;

	got.error = -ENOSPC;
	cr_assert_eq(get_range(0, 10, &e), -ENOSPC);
	got.error = 0;
}

Test(registry, reads_a_whole_blob_and_checks_it)
{
	struct oci_blob empty = {.size = 0};
	struct err e;

	cr_assert_eq(get_blob(&e), 0);
	cr_assert_eq(got.size, SIZE);
	cr_assert_eq(memcmp(got.bytes, data, SIZE), 0);
	cr_assert_eq(sha256(&empty.digest, "", 0), 0);
	cr_assert_eq(registry_get_blob(client, &where, &empty, take, &got, &e), 0);
}

Test(registry, goes_on_where_a_blob_broke_off)
{
	struct err e;

	FAKE_SET(&fake, cut_after, 90000);
	FAKE_SET(&fake, cut_next, 2);
	cr_assert_eq(get_blob(&e), 0, "%s", e.text);
	cr_assert_eq(memcmp(got.bytes, data, SIZE), 0);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 3);
	FAKE_SET(&fake, no_ranges, true);
	FAKE_SET(&fake, cut_next, 1000);
	cr_assert_eq(get_blob(&e), -EAGAIN); /* it never gets beyond the same place */
	FAKE_SET(&fake, cut_next, 1);
	cr_assert_eq(get_blob(&e), 0, "%s", e.text);
	cr_assert_eq(memcmp(got.bytes, data, SIZE), 0);
}

Test(registry, refuses_a_blob_of_another_size_or_digest)
{
	struct oci_blob b = {.digest = blob, .size = SIZE - 1};
	struct err e;

	cr_assert_eq(registry_get_blob(client, &where, &b, take, &got, &e), -EBADE);
	FAKE_SET(&fake, corrupt, true);
	cr_assert_eq(get_blob(&e), -EBADMSG);
}

Test(registry, resolves_tags_and_digests)
{
	struct digest put = fake_add_manifest(&fake, "1", "{\"a\":1}", 7), digest;
	struct reference by_digest = where;
	struct buf bytes;
	struct err e;

	buf_init(&bytes, 100);
	buf_put(&bytes, "before", 6);
	cr_assert_eq(registry_get_manifest(client, &where, &bytes, &digest, &e), 0, "%s", e.text);
	cr_assert(digest_equal(&put, &digest));
	cr_assert_eq(bytes.size, 13);
	cr_assert_eq(memcmp(bytes.data, "before{\"a\":1}", 13), 0);
	by_digest.has_digest = true;
	by_digest.digest = digest;
	cr_assert_eq(registry_get_manifest(client, &by_digest, &bytes, &digest, &e), 0);
	by_digest.digest.bytes[3] ^= 1;
	cr_assert_eq(registry_get_manifest(client, &by_digest, &bytes, &digest, &e), -ENOENT);
	buf_deinit(&bytes);
}

Test(registry, refuses_a_manifest_of_another_digest)
{
	char text[DIGEST_TEXT_SIZE];
	struct reference by_digest = where;
	struct digest digest;
	struct buf bytes;
	struct err e;

	by_digest.has_digest = true;
	by_digest.digest = blob;
	(void)fake_add_manifest(&fake, digest_text(&blob, text), "{}", 2);
	buf_init(&bytes, 100);
	cr_assert_eq(registry_get_manifest(client, &by_digest, &bytes, &digest, &e), -EBADMSG);
	buf_deinit(&bytes);
}

Test(registry, refuses_a_manifest_over_the_limit)
{
	struct digest digest;
	struct buf bytes;
	struct err e;

	(void)fake_add_manifest(&fake, "1", data, 5000);
	buf_init(&bytes, 4999);
	cr_assert_eq(registry_get_manifest(client, &where, &bytes, &digest, &e), -E2BIG);
	buf_deinit(&bytes);
}

Test(registry, logs_in_with_basic_authentication)
{
	struct err e;

	FAKE_SET(&fake, basic, "Basic dXNlcjpwYXNz");
	write_config("\"username\":\"user\",\"password\":\"wrong\"");
	cr_assert_eq(get_range(0, 1, &e), -EACCES);
	write_config("\"auth\":\"dXNlcjpwYXNz\"");
	expect_range(0, 1);
	cr_assert_eq(unlink(scratch_path("config.json")), 0);
	expect_range(1, 1); /* known by now */
}

Test(registry, says_when_there_is_no_login)
{
	struct err e;

	FAKE_SET(&fake, basic, "Basic dXNlcjpwYXNz");
	write_config("");
	cr_assert_eq(get_range(0, 1, &e), -EACCES);
	cr_assert_not_null(strstr(e.text, "config.json"), "%s", e.text);
}

Test(registry, fetches_one_token_and_keeps_it)
{
	FAKE_SET(&fake, bearer, "tok-1");
	write_config("");
	expect_range(0, 1);
	expect_range(1, 1);
	cr_assert_eq(fake_count(&fake, &fake.tokens), 1);
	/* the registry forgets the token: a new one is fetched once */
	FAKE_SET(&fake, bearer, "tok-2");
	expect_range(2, 1);
	cr_assert_eq(fake_count(&fake, &fake.tokens), 2);
}

Test(registry, logs_in_at_the_token_server)
{
	struct err e;

	FAKE_SET(&fake, bearer, "tok-1");
	FAKE_SET(&fake, token_basic, "Basic dXNlcjpwYXNz");
	write_config("");
	cr_assert_eq(get_range(0, 1, &e), -EACCES);
	write_config("\"auth\":\"dXNlcjpwYXNz\"");
	expect_range(0, 1);
}

Test(registry, exchanges_an_identity_token)
{
	FAKE_SET(&fake, bearer, "tok-1");
	write_config("\"identitytoken\":\"refresh me\"");
	expect_range(0, 1);
	cr_assert_eq(fake_count(&fake, &fake.posts), 1);
}

Test(registry, carries_no_credentials_to_another_host)
{
	struct fake_registry other;

	fake_start(&other);
	(void)fake_add_blob(&other, data, SIZE);
	FAKE_SET(&fake, basic, "Basic dXNlcjpwYXNz");
	FAKE_SET(&fake, redirect, other.host);
	write_config("\"auth\":\"dXNlcjpwYXNz\"");
	expect_range(0, 10);
	expect_range(20, 10);
	cr_assert_eq(fake_count(&other, &other.blob_gets), 2);
	cr_assert_not(other.leaked);
	/* the second one went there directly */
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 1);
	/* and when it is gone there, the registry is asked again */
	FAKE_SET(&other, fail_status, 403);
	FAKE_SET(&other, fail_next, 1);
	expect_range(20, 10);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 2);
	fake_stop(&other);
}

Test(registry, follows_few_redirects)
{
	struct err e;

	FAKE_SET(&fake, redirect, fake.host);
	cr_assert_eq(get_range(0, 10, &e), -EBADE);
	cr_assert_leq(fake_count(&fake, &fake.requests), 8);
}

static void *stop_soon(void *arg)
{
	(void)usleep(200000);
	registry_client_stop(arg);
	return NULL;
}

Test(registry, stops)
{
	pthread_t thread;
	struct err e;

	FAKE_SET(&fake, fail_status, 500);
	FAKE_SET(&fake, fail_next, 1000);
	cr_assert_eq(pthread_create(&thread, NULL, stop_soon, client), 0);
	cr_assert_eq(get_range(0, 10, &e), -ECANCELED);
	(void)pthread_join(thread, NULL);
	cr_assert_eq(get_range(0, 10, &e), -ECANCELED);
}
