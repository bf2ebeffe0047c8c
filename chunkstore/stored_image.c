/* SPDX-License-Identifier: Apache-2.0
 * The same checks whether the files come from a registry a moment ago or from a disk after years: manifest by
 * its digest, config by the manifest's, the blobs by the descriptor, the chunk table by the hash tree, every
 * entry by its own conditions. What binds the descriptor to the manifest is checked on the way in
 * (stored_image_fetch.c). */
#include "chunkstore/stored_image.h"
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The public part of an index, mapped. */
struct view {
	const uint8_t *bytes; /* NULL: none */
	size_t size;
};

static void view_close(struct view *v)
{
	if (v->bytes)
		(void)munmap((void *)(uintptr_t)v->bytes, v->size);
}

void image_put(struct stored_image *i)
{
	if (!i || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
		return;
	oci_manifest_deinit(&i->oci);
	oci_config_deinit(&i->config);
	buf_deinit(&i->manifest);
	if (i->index_fd >= 0)
		(void)close(i->index_fd);
	free(i);
}

uint64_t stored_image_bytes(const struct stored_image *i)
{
	return i->manifest.size + i->oci.config.size + i->descriptor.meta_offset + DESCRIPTOR_SIZE;
}

static int load_manifest(struct stored_image *i, int dir, struct err *e)
{
	struct digest got;
	int r;

	buf_init(&i->manifest, MAX_MANIFEST_SIZE);
	r = file_read(dir, "manifest", &i->manifest, e);
	if (r < 0)
		return r;
	if (i->manifest.size == 0 || sha256(&got, i->manifest.data, i->manifest.size) < 0 ||
	    !digest_equal(&got, &i->digest))
		return err_set(e, -EBADMSG, "manifest: another digest");
	r = oci_manifest_decode(&i->oci, i->manifest.data, i->manifest.size, e);
	if (r < 0)
		return r;
	return i->oci.sealed ? 0 : err_set(e, -EUCLEAN, "manifest: not a sealed image");
}

/* [M3] */
static int load_config(struct stored_image *i, int dir, struct err *e)
{
	cleanup_buf struct buf json;
	struct digest got;
	int r;

	buf_init(&json, OCI_MAX_DOCUMENT);
	r = file_read(dir, "config", &json, e);
	if (r < 0)
		return r;
	if (json.size == 0 || sha256(&got, json.data, json.size) < 0 ||
	    !digest_equal(&got, &i->oci.config.digest))
		return err_set(e, -EBADMSG, "config: another digest than in the manifest");
	r = oci_config_decode(&i->config, json.data, json.size, e);
	if (r < 0)
		return r;
	if (i->config.n_diff_ids != i->oci.n_layers)
		return err_set(e, -EUCLEAN, "config [M3]: %u diff_ids for %u layers", i->config.n_diff_ids,
			       i->oci.n_layers);
	for (uint32_t k = 0; k < i->oci.n_layers; k++)
		if (!digest_equal(&i->config.diff_ids[k], &i->oci.layers[k].digest))
			return err_set(e, -EUCLEAN, "config [M3]: diff_id %u is not the layer's digest", k);
	return 0;
}

static int check_blobs(struct stored_image *i, struct err *e)
{
	uint32_t n = i->oci.n_layers;
	struct sha256 hash;
	struct digest got;
	int r;

	if (i->descriptor.n_blobs != n)
		return err_set(e, -EUCLEAN, "descriptor [D6]: %u blobs for %u layers", i->descriptor.n_blobs,
			       n);
	r = sha256_init(&hash);
	for (uint32_t k = 0; k < n; k++) {
		i->blob_sizes[k] = i->oci.layers[k].size;
		if (r == 0 && k < n - 1)
			r = sha256_update(&hash, i->oci.layers[k].digest.bytes, DIGEST_SIZE);
	}
	if (r == 0)
		r = sha256_final(&hash, &got);
	sha256_deinit(&hash);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (!digest_equal(&got, &i->descriptor.blobs_digest))
		return err_set(e, -EUCLEAN, "descriptor [D10]: made for other blobs than the manifest's");
	if (i->descriptor.meta_offset > i->blob_sizes[n - 1] ||
	    i->blob_sizes[n - 1] - i->descriptor.meta_offset < DESCRIPTOR_SIZE)
		return err_set(e, -EUCLEAN, "descriptor [D9]: the index blob is too short for it");
	return 0;
}

static int load_descriptor(struct stored_image *i, int dir, struct err *e)
{
	cleanup_close int fd = openat(dir, "descriptor", O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : pread_full(fd, i->descriptor_raw, DESCRIPTOR_SIZE, 0);

	if (r < 0)
		return err_errno(e, r, "descriptor");
	r = descriptor_decode(&i->descriptor, i->descriptor_raw, e);
	return r < 0 ? r : check_blobs(i, e);
}

/* The tree stands behind the table and one superblock; it must be the very tree of this table. */
static int check_tree(const struct stored_image *i, const struct view *v, struct err *e)
{
	uint64_t table = chunk_table_size(i->descriptor.n_chunks);
	const uint8_t *tree = v->bytes + table + BLOCK_SIZE;
	cleanup_free uint8_t *hash = NULL;
	struct merkle_shape shape;
	struct digest root;
	int r = merkle_shape_init(&shape, table / BLOCK_SIZE);

	if (r < 0 || table + BLOCK_SIZE + shape.n_hash * MERKLE_BLOCK != v->size)
		return err_set(e, -EUCLEAN, "hash tree: another size than the table asks for");
	hash = malloc((size_t)shape.n_hash * MERKLE_BLOCK + 1);
	if (!hash)
		return err_set(e, -ENOMEM, "out of memory");
	r = merkle_build(&shape, v->bytes, hash, i->descriptor.salt, &root);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (!digest_equal(&root, &i->descriptor.root_hash) ||
	    memcmp(hash, tree, (size_t)shape.n_hash * MERKLE_BLOCK) != 0)
		return err_set(e, -EBADMSG, "hash tree: does not fit table and descriptor");
	return 0;
}

static int check_entries(const struct stored_image *i, const struct view *v, struct err *e)
{
	struct chunk_entry entry;
	int r = 0;

	for (uint32_t k = 0; k < i->descriptor.n_chunks && r == 0; k++)
		r = chunk_entry_decode(&entry, k, v->bytes + (size_t)k * CHUNK_ENTRY_SIZE, &i->descriptor,
				       i->blob_sizes, e);
	return r;
}

static int load_index(struct stored_image *i, int dir, struct err *e)
{
	__attribute__((cleanup(view_close))) struct view v = {0};
	struct stat st;
	void *p;
	int r;

	i->index_fd = openat(dir, "index", O_RDONLY | O_CLOEXEC);
	if (i->index_fd < 0 || fstat(i->index_fd, &st) < 0)
		return err_errno(e, -errno, "index");
	if (i->descriptor.meta_offset > IMAGE_MAX_PUBLIC || (uint64_t)st.st_size != i->descriptor.meta_offset)
		return err_set(e, -EUCLEAN, "index: %lld bytes for %llu", (long long)st.st_size,
			       (unsigned long long)i->descriptor.meta_offset);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, i->index_fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, -errno, "index");
	v = (struct view){p, (size_t)st.st_size};
	r = check_tree(i, &v, e);
	return r < 0 ? r : check_entries(i, &v, e);
}

int stored_image_load(struct stored_image **out, int dir, const struct digest *digest, struct err *e)
{
	struct stored_image *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return err_set(e, -ENOMEM, "out of memory");
	i->index_fd = -1;
	i->digest = *digest;
	atomic_init(&i->refs, 1);
	r = load_manifest(i, dir, e);
	if (r == 0)
		r = load_config(i, dir, e);
	if (r == 0)
		r = load_descriptor(i, dir, e);
	if (r == 0)
		r = load_index(i, dir, e);
	if (r < 0) {
		image_put(i);
		return r;
	}
	*out = i;
	return 0;
}

int image_chunk(const struct stored_image *i, uint32_t number, struct chunk_entry *out, struct err *e)
{
	uint8_t raw[CHUNK_ENTRY_SIZE];
	int r;

	if (number >= i->descriptor.n_chunks)
		return err_set(e, -ENOENT, "chunk %u of %u", number, i->descriptor.n_chunks);
	r = pread_full(i->index_fd, raw, sizeof(raw), (uint64_t)number * CHUNK_ENTRY_SIZE);
	if (r < 0)
		return err_errno(e, r, "chunk table");
	return chunk_entry_decode(out, number, raw, &i->descriptor, i->blob_sizes, e);
}
