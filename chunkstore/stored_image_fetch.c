/* SPDX-License-Identifier: Apache-2.0
 * Fetching what the host keeps of an image. A small index comes whole, in one request, and is bound to the
 * manifest by the layer's digest; of a large one only the public part comes, bound by the manifest's note of
 * the descriptor's digest. Without that note the whole blob is fetched: a registry named by one guest must
 * not be able to plant a wrong table under a manifest digest that others use. Nothing is synced: each file is
 * checked whenever the image is loaded, and what a crash of the machine has spoiled is fetched again. */
#include "chunkstore/clock.h"
#include "chunkstore/stored_image.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#define SMALL_INDEX (4u << 20)
#define DEADLINE_MS 120000

static int take_into_buf(void *arg, const void *p, size_t n)
{
	struct buf *to = arg;

	buf_put(to, p, n);
	return buf_failed(to) ? -E2BIG : 0;
}

static int fetch_config(int dir, const struct oci_manifest *oci, const struct reference *where,
			struct registry_client *registry, struct err *e)
{
	cleanup_buf struct buf json = {0};
	int r;

	if (oci->config.size > OCI_MAX_DOCUMENT)
		return err_set(e, -E2BIG, "config of %llu bytes", (unsigned long long)oci->config.size);
	buf_init(&json, (size_t)oci->config.size);
	r = registry_get_blob(registry, where, &oci->config, take_into_buf, &json, e);
	return r < 0 ? err_prefix(e, r, "config")
		     : file_write_unsynced(dir, "config", json.data, json.size, e);
}

/* The index blob on its way: the public part goes to a file, the last bytes are the descriptor, metadata
 * chunks of a small blob are kept in memory. */
struct arrival {
	int fd;
	uint64_t at, end; /* of the blob */
	uint64_t upto;	  /* the file takes bytes before this offset */
	uint8_t descriptor[DESCRIPTOR_SIZE];
	int64_t deadline_ms;
};

static int take_index(void *arg, const void *p, size_t n)
{
	struct arrival *a = arg;
	const uint8_t *from = p;
	int r = 0;

	if (now_ms() > a->deadline_ms)
		return -ETIMEDOUT;
	if (a->at < a->upto)
		r = write_full(a->fd, from, a->upto - a->at < n ? (size_t)(a->upto - a->at) : n);
	for (size_t k = n > DESCRIPTOR_SIZE ? n - DESCRIPTOR_SIZE : 0; k < n; k++)
		if (a->at + k >= a->end - DESCRIPTOR_SIZE)
			a->descriptor[a->at + k - (a->end - DESCRIPTOR_SIZE)] = from[k];
	a->at += n;
	return r;
}

/* Metadata chunks that came along: a mount will ask for them next. What is wrong with them shows when
 * somebody does. */
static void keep_metadata(const struct arrival *a, const struct descriptor *d, const struct oci_manifest *oci,
			  struct chunk_cache *cache)
{
	uint64_t sizes[MAX_BLOBS];

	for (uint32_t k = 0; k < oci->n_layers; k++)
		sizes[k] = oci->layers[k].size;
	for (uint32_t k = 0; k < d->n_meta_chunks; k++) {
		uint8_t raw[CHUNK_ENTRY_SIZE];
		cleanup_free uint8_t *stored = NULL;
		struct chunk_entry c;

		if (pread_full(a->fd, raw, sizeof(raw), (uint64_t)k * CHUNK_ENTRY_SIZE) < 0 ||
		    chunk_entry_decode(&c, k, raw, d, sizes, NULL) < 0)
			return;
		stored = malloc(c.stored_size);
		if (!stored || pread_full(a->fd, stored, c.stored_size, c.offset) < 0 ||
		    chunk_cache_put(cache, &c.id, stored, c.stored_size) < 0)
			return;
	}
}

/* The manifest's note of the descriptor's digest, FORMAT.md §2. False: there is none. */
static bool noted_descriptor(struct digest *out, const struct buf *manifest)
{
	json_t *j = json_loadb((const char *)manifest->data, manifest->size, JSON_REJECT_DUPLICATES, NULL);
	const json_t *layers = json_object_get(j, "layers");
	const json_t *index = json_array_get(layers, json_array_size(layers) - 1);
	const char *text = json_string_value(
		json_object_get(json_object_get(index, "annotations"), ANNOTATION_DESCRIPTOR));
	bool found = text && digest_parse(out, text) == 0;

	json_decref(j);
	return found;
}

static int check_public_size(const struct descriptor *d, const struct oci_blob *index, struct err *e)
{
	if (d->meta_offset > IMAGE_MAX_PUBLIC)
		return err_set(e, -E2BIG, "index: a chunk table of %u entries is more than this host takes",
			       d->n_chunks);
	if (d->meta_offset + DESCRIPTOR_SIZE > index->size)
		return err_set(e, -EUCLEAN, "descriptor [D9]: the index blob is too short for it");
	return 0;
}

/* All of the blob, checked by its digest. */
static int fetch_whole(struct arrival *a, struct descriptor *d, const struct oci_blob *index,
		       const struct reference *where, struct registry_client *registry, struct err *e)
{
	int r;

	a->upto = index->size <= SMALL_INDEX ? index->size : IMAGE_MAX_PUBLIC;
	r = registry_get_blob(registry, where, index, take_index, a, e);
	if (r == 0)
		r = descriptor_decode(d, a->descriptor, e);
	return r < 0 ? r : check_public_size(d, index, e);
}

/* Descriptor, then table and tree. */
static int fetch_public(struct arrival *a, struct descriptor *d, const struct oci_blob *index,
			const struct digest *noted, const struct reference *where,
			struct registry_client *registry, struct err *e)
{
	struct digest got;
	int r;

	a->at = index->size - DESCRIPTOR_SIZE;
	r = registry_get_range(registry, where, &index->digest, a->at, DESCRIPTOR_SIZE, take_index, a, e);
	if (r == 0)
		r = sha256(&got, a->descriptor, DESCRIPTOR_SIZE);
	if (r == 0 && !digest_equal(&got, noted))
		return err_set(e, -EBADMSG, "descriptor: another digest than the manifest notes");
	if (r == 0)
		r = descriptor_decode(d, a->descriptor, e);
	if (r == 0)
		r = check_public_size(d, index, e);
	if (r < 0)
		return r;
	a->at = 0;
	a->upto = d->meta_offset;
	return registry_get_range(registry, where, &index->digest, 0, d->meta_offset, take_index, a, e);
}

static int fetch_index(int dir, const struct buf *manifest, const struct oci_manifest *oci,
		       const struct reference *where, struct registry_client *registry,
		       struct chunk_cache *cache, struct err *e)
{
	const struct oci_blob *index = &oci->layers[oci->n_layers - 1];
	cleanup_close int fd = openat(dir, "index", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct arrival a = {.fd = fd, .end = index->size, .deadline_ms = now_ms() + DEADLINE_MS};
	struct digest noted;
	struct descriptor d;
	int r;

	if (fd < 0)
		return err_errno(e, -errno, "index");
	if (index->size < DESCRIPTOR_SIZE)
		return err_set(e, -EUCLEAN, "index: a blob of %llu bytes", (unsigned long long)index->size);
	if (index->size > SMALL_INDEX && noted_descriptor(&noted, manifest))
		r = fetch_public(&a, &d, index, &noted, where, registry, e);
	else
		r = fetch_whole(&a, &d, index, where, registry, e);
	if (r < 0)
		return err_prefix(e, r, "index");
	if (index->size <= SMALL_INDEX)
		keep_metadata(&a, &d, oci, cache);
	if (ftruncate(fd, (off_t)d.meta_offset) < 0)
		return err_errno(e, -errno, "index");
	return file_write_unsynced(dir, "descriptor", a.descriptor, DESCRIPTOR_SIZE, e);
}

int stored_image_fetch(int dir, const struct buf *manifest, const struct oci_manifest *oci,
		       const struct reference *where, struct registry_client *registry,
		       struct chunk_cache *cache, struct err *e)
{
	int r = file_write_unsynced(dir, "manifest", manifest->data, manifest->size, e);

	if (r == 0)
		r = fetch_config(dir, oci, where, registry, e);
	if (r == 0)
		r = fetch_index(dir, manifest, oci, where, registry, cache, e);
	return r;
}
