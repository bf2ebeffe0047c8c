/* SPDX-License-Identifier: Apache-2.0
 * Fetching chunks: shared, merged, checked, and given up in time. */
#include "chunkstore/fetcher.h"
#include "../scratch.h"
#include "fake_registry.h"

#include <errno.h>

static struct fake_registry fake;
static struct fake_image image;
static struct registry_client *client;
static struct chunk_cache *cache;
static struct fetcher *fetcher;
static struct origin *origin;

static void open_fetcher(const struct fetcher_options *o)
{
	cr_assert_eq(fetcher_open(&fetcher, o, client, cache, NULL), 0);
}

static void open_all(void)
{
	struct registry_options o = {.patience_ms = 800, .docker_config = "/dev/null/none"};
	struct reference ref;
	char text[64];
	struct err e;

	scratch_open();
	fake_start(&fake);
	o.plain_http = (const char *const[]){fake.host};
	o.n_plain_http = 1;
	cr_assert_eq(registry_client_open(&client, &o, &e), 0);
	cr_assert_eq(chunk_cache_open(&cache, scratch_path("chunks"), 0, &e), 0);
	open_fetcher(&(struct fetcher_options){.threads = 4});
	(void)snprintf(text, sizeof(text), "%s/a/b:1", fake.host);
	cr_assert_eq(reference_parse(&ref, text, NULL), 0);
	cr_assert_eq(origin_new(&origin, &ref), 0);
	image = (struct fake_image){.n_chunks = 300, .n_meta = 3, .chunk_size = 10000, .seed = 7};
	fake_image_make(&image);
	fake_image_add(&fake, &image, "1");
}

static void close_all(void)
{
	registry_client_stop(client);
	fetcher_close(fetcher);
	origin_unref(origin);
	chunk_cache_close(cache);
	registry_client_close(client);
	fake_image_free(&image);
	fake_stop(&fake);
	scratch_close();
}

TestSuite(fetcher, .init = open_all, .fini = close_all, .timeout = 60);

/* A fetch that somebody waits for. */
struct want {
	struct fetch fetch;
	int error;
	bool done;
	char words[200];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned n_done;

static void done(struct fetch *f, int error, const char *words)
{
	struct want *w = (struct want *)f;

	(void)pthread_mutex_lock(&lock);
	cr_assert_not(w->done);
	w->done = true;
	w->error = error;
	(void)snprintf(w->words, sizeof(w->words), "%s", words);
	n_done++;
	(void)pthread_cond_broadcast(&changed);
	(void)pthread_mutex_unlock(&lock);
}

static void want(struct want *w, uint32_t first, uint32_t n)
{
	struct fetch *fetches[300];

	for (uint32_t i = 0; i < n; i++) {
		w[i] = (struct want){.fetch = {.blob = image.data_digest,
					       .entry = image.entries[first + i],
					       .done = done}};
		fetches[i] = &w[i].fetch;
	}
	fetcher_fetch(fetcher, origin, fetches, n);
}

static void wait_done(unsigned n)
{
	(void)pthread_mutex_lock(&lock);
	while (n_done < n)
		(void)pthread_cond_wait(&changed, &lock);
	(void)pthread_mutex_unlock(&lock);
}

static struct want wants[600];

Test(fetcher, brings_neighbours_in_one_request)
{
	want(wants, 10, 50);
	wait_done(50);
	for (int i = 0; i < 50; i++) {
		cr_assert_eq(wants[i].error, 0, "%s", wants[i].words);
		cr_assert(chunk_cache_has(cache, &wants[i].fetch.entry.id));
	}
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 1);
}

Test(fetcher, brings_a_whole_start_up_list_in_one_request)
{
	fake_image_free(&image);
	image = (struct fake_image){.n_chunks = 300, .n_meta = 3, .chunk_size = 60000, .seed = 8};
	fake_image_make(&image);
	fake_image_add(&fake, &image, "2");
	want(wants, 3, 256); /* as many as a guest's request holds: 15 MB */
	wait_done(256);
	for (int i = 0; i < 256; i++)
		cr_assert_eq(wants[i].error, 0, "%s", wants[i].words);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 1);
}

Test(fetcher, does_not_bridge_wide_gaps)
{
	want(wants, 10, 1);
	want(wants + 1, 200, 1);
	wait_done(2);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 2);
}

Test(fetcher, shares_a_fetch_among_all_who_wait)
{
	struct fetcher_stats s;

	FAKE_SET(&fake, delay_ms, 100);
	for (int i = 0; i < 20; i++)
		want(wants + i, 42, 1);
	wait_done(20);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(wants[i].error, 0);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 1);
	fetcher_stats(fetcher, &s);
	cr_assert_eq(s.shared, 19);
	cr_assert_eq(s.waiting, 0);
}

Test(fetcher, answers_at_once_what_landed_meanwhile)
{
	want(wants, 5, 1);
	wait_done(1);
	want(wants + 1, 5, 1);
	wait_done(2);
	cr_assert_eq(wants[1].error, 0);
	cr_assert_eq(fake_count(&fake, &fake.blob_gets), 1);
}

Test(fetcher, delivers_before_the_range_is_complete)
{
	/* the transfer breaks off in the middle and its rest stalls: what came before is there */
	FAKE_SET(&fake, cut_after, 100000);
	FAKE_SET(&fake, cut_next, 1);
	FAKE_SET(&fake, delay_ms, 300);
	want(wants, 10, 50);
	wait_done(9);
	cr_assert_lt(fake_count(&fake, &fake.blob_gets), 2);
	wait_done(50);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(wants[i].error, 0);
}

Test(fetcher, fails_only_the_chunk_that_is_wrong)
{
	image.entries[12].id.bytes[0] ^= 1;
	want(wants, 10, 5);
	wait_done(5);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(wants[i].error, i == 2 ? -EBADMSG : 0);
	cr_assert_not(chunk_cache_has(cache, &image.entries[12].id));
}

Test(fetcher, tells_everybody_when_the_registry_fails)
{
	FAKE_SET(&fake, fail_status, 500);
	FAKE_SET(&fake, fail_next, 1000);
	want(wants, 10, 50);
	wait_done(50);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(wants[i].error, -EAGAIN);
	cr_assert_not_null(strstr(wants[0].words, "500"), "%s", wants[0].words);
}

Test(fetcher, does_not_share_between_origins)
{
	struct fake_registry evil;
	struct origin *other;
	struct reference ref;
	struct want bad;
	struct fetch *fetch = &bad.fetch;
	char text[64];

	fake_start(&evil);
	FAKE_SET(&evil, stall_next, 1000);
	(void)snprintf(text, sizeof(text), "%s/a/b:1", evil.host);
	cr_assert_eq(reference_parse(&ref, text, NULL), 0);
	cr_assert_eq(origin_new(&other, &ref), 0);
	bad = (struct want){.fetch = {.blob = image.data_digest, .entry = image.entries[20], .done = done}};
	fetcher_fetch(fetcher, other, &fetch, 1);
	(void)usleep(50000);
	want(wants, 20, 1);
	wait_done(1);
	cr_assert(wants[0].done && wants[0].error == 0);
	fetcher_cancel(fetcher, &bad.fetch);
	origin_unref(other);
	registry_client_stop(client);
	fake_stop(&evil);
}

Test(fetcher, leaves_threads_for_other_registries)
{
	struct fake_registry slow;
	struct origin *other;
	struct reference ref;
	struct want stuck[8];
	char text[64];

	registry_client_stop(client);
	fetcher_close(fetcher);
	registry_client_close(client);
	cr_assert_eq(registry_client_open(&client, &(struct registry_options){.patience_ms = 800}, NULL), 0);
	open_fetcher(&(struct fetcher_options){.threads = 4, .threads_per_registry = 3});
	fake_start(&slow);
	FAKE_SET(&slow, stall_next, 1000);
	(void)snprintf(text, sizeof(text), "%s/a/b:1", slow.host);
	cr_assert_eq(reference_parse(&ref, text, NULL), 0);
	cr_assert_eq(origin_new(&other, &ref), 0);
	for (uint32_t i = 0; i < 8; i++) {
		struct fetch *fetch = &stuck[i].fetch;

		stuck[i] = (struct want){.fetch = {.blob = image.data_digest,
						   .entry = image.entries[20 + 20 * i],
						   .done = done}};
		fetcher_fetch(fetcher, other, &fetch, 1);
	}
	(void)usleep(50000);
	want(wants, 20, 1);
	wait_done(1);
	cr_assert(wants[0].done);
	for (int i = 0; i < 8; i++)
		fetcher_cancel(fetcher, &stuck[i].fetch);
	origin_unref(other);
	registry_client_stop(client);
	fake_stop(&slow);
}

Test(fetcher, gives_up_what_waited_too_long)
{
	registry_client_stop(client);
	fetcher_close(fetcher);
	registry_client_close(client);
	cr_assert_eq(registry_client_open(
			     &client,
			     &(struct registry_options){.patience_ms = 800, .stall_timeout_ms = 1000}, NULL),
		     0);
	open_fetcher(&(struct fetcher_options){.threads = 1, .deadline_ms = 300});
	FAKE_SET(&fake, stall_next, 1);
	want(wants, 10, 1);
	(void)usleep(50000);
	want(wants + 1, 100, 1);
	wait_done(2);
	cr_assert_eq(wants[1].error, -EAGAIN);
}

Test(fetcher, never_calls_what_was_cancelled)
{
	FAKE_SET(&fake, delay_ms, 200);
	want(wants, 10, 20);
	(void)usleep(20000);
	want(wants + 20, 150, 20);
	for (int i = 0; i < 40; i++)
		fetcher_cancel(fetcher, &wants[i].fetch);
	memset(wants, 0xee, sizeof(wants));
	(void)usleep(600000);
	cr_assert_eq(n_done, 0);
}

Test(fetcher, lets_demand_pass_what_is_ahead_of_need)
{
	registry_client_stop(client);
	fetcher_close(fetcher);
	registry_client_close(client);
	cr_assert_eq(registry_client_open(&client, &(struct registry_options){.patience_ms = 800}, NULL), 0);
	open_fetcher(&(struct fetcher_options){.threads = 1});
	FAKE_SET(&fake, delay_ms, 100);
	want(wants, 3, 1);
	(void)usleep(20000);
	for (uint32_t i = 0; i < 5; i++) {
		struct fetch *fetch = &wants[10 + i].fetch;

		wants[10 + i] = (struct want){.fetch = {.blob = image.data_digest,
							.entry = image.entries[50 + 40 * i],
							.ahead = true,
							.done = done}};
		fetcher_fetch(fetcher, origin, &fetch, 1);
	}
	want(wants + 1, 290, 1);
	wait_done(2);
	cr_assert(wants[1].done);
	wait_done(7);
}
