/* SPDX-License-Identifier: Apache-2.0
 * Images from a registry and from disk, good ones and broken ones. */
#include "chunkstore/image_store.h"
#include "../scratch.h"
#include "chunkstore/chunkstore.h"
#include "fake_registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

static struct fake_registry fake;
static struct fake_image image;
static struct registry_client *client;
static struct chunk_cache *cache;
static struct image_store *store;
static struct reference ref;

static void open_store(void)
{
	struct image_store_options o = {.dir = scratch_path("images"), .tag_fresh_ms = 300};
	struct err e;

	cr_assert_eq(image_store_open(&store, &o, client, cache, &e), 0, "%s", e.text);
}

static void reopen_store(void)
{
	image_store_close(store);
	open_store();
}

static void open_all(void)
{
	struct registry_options o = {.patience_ms = 800, .docker_config = "/dev/null/none"};
	char text[64];
	struct err e;

	scratch_open();
	fake_start(&fake);
	o.plain_http = (const char *const[]){fake.host};
	o.n_plain_http = 1;
	cr_assert_eq(registry_client_open(&client, &o, &e), 0);
	cr_assert_eq(chunk_cache_open(&cache, scratch_path("chunks"), 0, &e), 0);
	open_store();
	(void)snprintf(text, sizeof(text), "%s/a/b:1", fake.host);
	cr_assert_eq(reference_parse(&ref, text, NULL), 0);
	image = (struct fake_image){.n_chunks = 300, .n_meta = 3, .chunk_size = 1000, .seed = 7};
}

static void close_all(void)
{
	image_store_close(store);
	chunk_cache_close(cache);
	registry_client_close(client);
	fake_image_free(&image);
	fake_stop(&fake);
	scratch_close();
}

TestSuite(image_store, .init = open_all, .fini = close_all, .timeout = 60);

static void add_image(void)
{
	fake_image_make(&image);
	fake_image_add(&fake, &image, "1");
}

static struct stored_image *get(void)
{
	struct stored_image *i = NULL;
	struct err e = {""};

	cr_assert_eq(image_store_get(store, &ref, &i, &e), 0, "%s", e.text);
	cr_assert(digest_equal(&i->digest, &image.manifest_digest));
	return i;
}

static void expect_refused(int code, const char *words)
{
	struct stored_image *i = NULL;
	struct err e = {""};

	fake_image_add(&fake, &image, "1");
	cr_assert_eq(image_store_get(store, &ref, &i, &e), code, "%s", e.text);
	cr_assert_not_null(strstr(e.text, words), "%s", e.text);
}

Test(image_store, opens_an_image_by_tag)
{
	struct stored_image *i;
	struct chunk_entry c;
	struct err e;

	add_image();
	i = get();
	cr_assert_eq(i->descriptor.n_chunks, 300);
	for (uint32_t k = 0; k < 300; k++) {
		cr_assert_eq(image_chunk(i, k, &c, &e), 0);
		cr_assert_eq(memcmp(&c, &image.entries[k], sizeof(c)), 0);
	}
	cr_assert_eq(image_chunk(i, 300, &c, &e), -ENOENT);
	image_put(i);
}

Test(image_store, keeps_metadata_that_came_along)
{
	add_image();
	image_put(get());
	for (uint32_t k = 0; k < 3; k++)
		cr_assert(chunk_cache_has(cache, &image.entries[k].id));
	cr_assert_not(chunk_cache_has(cache, &image.entries[3].id));
	/* manifest, config, index: one request each */
	cr_assert_eq(fake.requests, 3);
}

Test(image_store, asks_for_a_tag_once_while_it_is_fresh)
{
	add_image();
	image_put(get());
	image_put(get());
	cr_assert_eq(fake_count(&fake, &fake.requests), 3);
	(void)usleep(400000);
	image_put(get());
	cr_assert_eq(fake_count(&fake, &fake.requests), 4);
}

Test(image_store, follows_a_tag_that_moves)
{
	struct fake_image other = {.n_chunks = 10, .n_meta = 1, .chunk_size = 100, .seed = 99};
	struct stored_image *i;

	add_image();
	image_put(get());
	fake_image_make(&other);
	fake_image_add(&fake, &other, "1");
	(void)usleep(400000);
	cr_assert_eq(image_store_get(store, &ref, &i, NULL), 0);
	cr_assert(digest_equal(&i->digest, &other.manifest_digest));
	image_put(i);
	fake_image_free(&other);
}

Test(image_store, never_asks_again_by_digest)
{
	unsigned before;

	add_image();
	ref.has_digest = true;
	ref.digest = image.manifest_digest;
	image_put(get());
	before = fake_count(&fake, &fake.requests);
	(void)usleep(400000);
	image_put(get());
	reopen_store();
	image_put(get());
	cr_assert_eq(fake_count(&fake, &fake.requests), before);
}

Test(image_store, needs_no_registry_after_a_restart)
{
	add_image();
	image_put(get());
	FAKE_SET(&fake, fail_status, 503);
	FAKE_SET(&fake, fail_next, 1000000);
	reopen_store();
	image_put(get()); /* the tag as it was known last */
}

Test(image_store, picks_the_manifest_of_this_machine_from_an_index)
{
	struct oci_platform here;
	char json[2048], text[DIGEST_TEXT_SIZE], wrong[DIGEST_TEXT_SIZE];

	add_image();
	oci_platform_host(&here);
	(void)snprintf(
		json, sizeof(json),
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.index.v1+json\",\"manifests\":["
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":5,"
		"\"platform\":{\"os\":\"plan9\",\"architecture\":\"mips\"}},"
		"{\"mediaType\":\"application/"
		"vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu,"
		"\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\"}}]}",
		digest_text(&image.data_digest, wrong), digest_text(&image.manifest_digest, text),
		strlen(image.manifest), here.os, here.architecture);
	ref.has_digest = true;
	ref.digest = fake_add_manifest(&fake, "2", json, strlen(json));
	image_put(get());
	reopen_store();
	FAKE_SET(&fake, fail_next, 1000000);
	FAKE_SET(&fake, fail_status, 503);
	image_put(get()); /* which one it was is remembered */
}

Test(image_store, tells_ordinary_images)
{
	const char *json =
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
		"\"application/vnd.oci.image.config.v1+json\",\"digest\":"
		"\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\"size\":2},"
		"\"layers\":[{"
		"\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":"
		"\"sha256:0000000000000000000000000000000000000000000000000000000000000001\",\"size\":2}]}";
	struct stored_image *i;
	struct err e = {""};

	(void)fake_add_manifest(&fake, "1", json, strlen(json));
	cr_assert_eq(image_store_get(store, &ref, &i, &e), IMAGE_NOT_SEALED, "%s", e.text);
	cr_assert_eq(image_store_get(store, &ref, &i, &e), IMAGE_NOT_SEALED);
	cr_assert_eq(fake.requests, 1);
}

Test(image_store, passes_what_the_registry_says)
{
	struct stored_image *i;
	struct err e;

	cr_assert_eq(image_store_get(store, &ref, &i, &e), -ENOENT);
	FAKE_SET(&fake, fail_status, 403);
	FAKE_SET(&fake, fail_next, 1);
	cr_assert_eq(image_store_get(store, &ref, &i, &e), -EACCES);
	FAKE_SET(&fake, fail_status, 500);
	FAKE_SET(&fake, fail_next, 1000);
	cr_assert_eq(image_store_get(store, &ref, &i, &e), -EAGAIN);
}

static void spoil_table(struct fake_image *i)
{
	i->index[5] ^= 1;
}

static void spoil_tree(struct fake_image *i)
{
	i->index[chunk_table_size(i->n_chunks) + BLOCK_SIZE + 40] ^= 1;
}

static void spoil_entry(struct fake_image *i)
{
	struct merkle_shape shape;
	uint64_t table = chunk_table_size(i->n_chunks);

	put_le32(i->index + 200 * CHUNK_ENTRY_SIZE + 40, 5); /* [T1] */
	cr_assert_eq(merkle_shape_init(&shape, table / BLOCK_SIZE), 0);
	cr_assert_eq(merkle_build(&shape, i->index, i->index + table + BLOCK_SIZE, i->descriptor.salt,
				  &i->descriptor.root_hash),
		     0);
}

static void spoil_blobs(struct fake_image *i)
{
	i->descriptor.blobs_digest.bytes[0] ^= 1;
}

static void spoil_count(struct fake_image *i)
{
	i->descriptor.n_blobs = 3;
}

Test(image_store, refuses_broken_images)
{
	const struct {
		void (*spoil)(struct fake_image *);
		int code;
		const char *words;
	} cases[] = {{spoil_table, -EBADMSG, "hash tree"},
		     {spoil_tree, -EBADMSG, "hash tree"},
		     {spoil_entry, -EUCLEAN, "[T1]"},
		     {spoil_blobs, -EUCLEAN, "[D10]"},
		     {spoil_count, -EUCLEAN, "[D6]"}};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		image.spoil_index = cases[k].spoil;
		fake_image_make(&image);
		expect_refused(cases[k].code, cases[k].words);
		fake_image_free(&image);
	}
	image.spoil_index = NULL;
	fake_image_make(&image);
	image.spoil_config = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	expect_refused(-EUCLEAN, "[M3]");
}

Test(image_store, leaves_nothing_of_a_refused_image)
{
	struct image_store_stats stats;
	DIR *d;
	struct dirent *x;

	image.spoil_index = spoil_table;
	fake_image_make(&image);
	expect_refused(-EBADMSG, "hash tree");
	image_store_stats(store, &stats);
	cr_assert_eq(stats.images, 0);
	d = opendir(scratch_path("images"));
	while ((x = readdir(d)))
		cr_assert(x->d_name[0] == '.' || strcmp(x->d_name, "lock") == 0, "%s", x->d_name);
	(void)closedir(d);
}

Test(image_store, refuses_blobs_with_another_digest)
{
	struct stored_image *i;
	struct err e;

	add_image();
	FAKE_SET(&fake, corrupt, true);
	cr_assert_eq(image_store_get(store, &ref, &i, &e), -EBADMSG);
}

Test(image_store, fetches_only_the_public_part_of_a_large_index)
{
	image.meta_size = 1000000;
	image.n_meta = 5;
	add_image();
	image_put(get());
	cr_assert_not(chunk_cache_has(cache, &image.entries[0].id));
	cr_assert_str_eq(fake.last_range, "bytes=0-28671");
}

static void other_descriptor(struct fake_image *i)
{
	i->descriptor.key_commitment[0] ^= 1;
}

/* The index blob cannot be hashed as it is not fetched; the note in the manifest binds the descriptor. */
Test(image_store, refuses_a_descriptor_that_the_manifest_does_not_note)
{
	struct fake_image liar;
	char text[DIGEST_TEXT_SIZE];
	struct stored_image *i;
	struct err e;

	image.meta_size = 1000000;
	image.n_meta = 5;
	add_image();
	liar = image;
	liar.spoil_index = other_descriptor;
	fake_image_make(&liar);
	(void)pthread_mutex_lock(&fake.lock);
	fake_put(&fake.blobs, digest_text(&image.index_digest, text), liar.index, liar.index_size);
	(void)pthread_mutex_unlock(&fake.lock);
	fake_image_free(&liar);
	cr_assert_eq(image_store_get(store, &ref, &i, &e), -EBADMSG);
	cr_assert_not_null(strstr(e.text, "notes"), "%s", e.text);
}

Test(image_store, hashes_all_of_a_large_index_without_a_note)
{
	image.meta_size = 1000000;
	image.n_meta = 5;
	image.no_note = true;
	add_image();
	image_put(get());
	cr_assert_str_eq(fake.last_range, "");
}

static void damage(const char *file)
{
	char hex[DIGEST_HEX_SIZE], path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/images/%s/%s", scratch,
		       digest_hex(&image.manifest_digest, hex), file);
	fd = open(path, O_RDWR);
	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, "X", 1, 100), 1);
	(void)close(fd);
}

Test(image_store, heals_what_the_disk_damaged)
{
	const char *const files[] = {"manifest", "config", "descriptor", "index"};

	add_image();
	image_put(get());
	for (size_t k = 0; k < 4; k++) {
		image_store_close(store);
		damage(files[k]);
		open_store();
		image_put(get());
	}
}

/* As a crash of the machine leaves files that were not synced: empty, or of the right size with nothing in
 * it. */
static void spoil(const char *file, bool keep_size)
{
	char path[512], hex[DIGEST_HEX_SIZE];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/images/%s/%s", scratch,
		       digest_hex(&image.manifest_digest, hex), file);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(truncate(path, 0), 0);
	if (keep_size)
		cr_assert_eq(truncate(path, st.st_size), 0);
}

/* Puts it back. */
static void expect_whole(struct stored_image *i)
{
	struct chunk_entry c;
	struct err e;

	for (uint32_t k = 0; k < image.n_chunks; k++) {
		cr_assert_eq(image_chunk(i, k, &c, &e), 0, "%s", e.text);
		cr_assert(digest_equal(&c.id, &image.entries[k].id));
	}
	image_put(i);
}

Test(image_store, heals_what_a_crash_of_the_machine_spoiled)
{
	const char *const files[] = {"manifest", "config", "descriptor", "index"};

	add_image();
	image_put(get());
	for (size_t k = 0; k < 8; k++) {
		image_store_close(store);
		spoil(files[k / 2], k % 2);
		spoil("names", k % 2);
		open_store();
		expect_whole(get());
	}
}

Test(image_store, stays_under_its_size)
{
	struct image_store_options o = {.dir = scratch_path("small"), .max_bytes = 100000};
	struct fake_image more[4];
	struct image_store_stats stats;
	struct stored_image *first = NULL, *i;
	struct image_store *small;
	char tag[8];
	struct err e;

	cr_assert_eq(image_store_open(&small, &o, client, cache, &e), 0);
	for (unsigned k = 0; k < 4; k++) {
		more[k] =
			(struct fake_image){.n_chunks = 300, .n_meta = 1, .chunk_size = 100, .seed = 100 + k};
		fake_image_make(&more[k]);
		(void)snprintf(tag, sizeof(tag), "t%u", k);
		fake_image_add(&fake, &more[k], tag);
		(void)snprintf(ref.tag, sizeof(ref.tag), "%s", tag);
		cr_assert_eq(image_store_get(small, &ref, &i, &e), 0, "%s", e.text);
		if (k == 0)
			first = i; /* in use: it stays */
		else
			image_put(i);
	}
	image_store_stats(small, &stats);
	cr_assert_leq(stats.bytes, 100000);
	(void)snprintf(ref.tag, sizeof(ref.tag), "t0");
	FAKE_SET(&fake, fail_next, 100000);
	FAKE_SET(&fake, fail_status, 500);
	cr_assert_eq(image_store_get(small, &ref, &i, &e), 0);
	cr_assert_eq(i, first);
	image_put(i);
	image_put(first);
	image_store_close(small);
	for (unsigned k = 0; k < 4; k++)
		fake_image_free(&more[k]);
}

static void *get_in_thread(void *arg)
{
	struct stored_image **i = arg;
	struct err e;

	return image_store_get(store, &ref, i, &e) == 0 ? arg : NULL;
}

Test(image_store, shares_one_fetch_among_many)
{
	struct stored_image *images[16];
	pthread_t threads[16];

	add_image();
	FAKE_SET(&fake, delay_ms, 50);
	for (int k = 0; k < 16; k++)
		cr_assert_eq(pthread_create(&threads[k], NULL, get_in_thread, &images[k]), 0);
	for (int k = 0; k < 16; k++) {
		void *result;

		(void)pthread_join(threads[k], &result);
		cr_assert_not_null(result);
		cr_assert_eq(images[k], images[0]);
		image_put(images[k]);
	}
	cr_assert_eq(fake_count(&fake, &fake.requests), 3);
}

Test(image_store, belongs_to_one_process)
{
	struct image_store_options o = {.dir = scratch_path("images")};
	struct image_store *second;
	struct err e;

	cr_assert_eq(image_store_open(&second, &o, client, cache, &e), -EBUSY);
}

Test(image_store, tells_a_snapshotter_layers_and_chain_ids)
{
	struct chunkstore s = {.images = store};
	char text[256], a[DIGEST_TEXT_SIZE], b[DIGEST_TEXT_SIZE];
	struct prepared_image p;
	struct digest chain;
	struct err e = {""};

	add_image();
	(void)snprintf(text, sizeof(text), "%s/a/b:other", fake.host);
	cr_assert_eq(chunkstore_prepare_image(&s, text, &image.manifest_digest, &p, &e), 0, "%s", e.text);
	cr_assert_eq(p.n_layers, 2);
	cr_assert(digest_equal(&p.chain_ids[0], &image.data_digest));
	(void)snprintf(text, sizeof(text), "%s %s", digest_text(&image.data_digest, a),
		       digest_text(&image.index_digest, b));
	(void)sha256(&chain, text, strlen(text));
	cr_assert(digest_equal(&p.chain_ids[1], &chain));
	cr_assert(digest_equal(&p.descriptor, &image.descriptor_digest));
	cr_assert_eq(chunkstore_prepare_image(&s, "no such name!", NULL, &p, &e), -EINVAL);
}
