/* SPDX-License-Identifier: Apache-2.0
 * Opening an image, in the order in which one thing vouches for the next: manifest, descriptor, blobs,
 * policy, key, hash tree, root chunk, map. Then reading it: range → extents → chunks → bytes. */
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "guestfs/image_internal.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CACHE_BYTES (32u << 20)
#define DEFAULT_TIMEOUT_MS 30000u
#define LOAD_MAX_BYTES (2u << 20) /* the kernel's largest read, wherever it begins */
#define LOADING_MIN (2u << 20) /* however small the cache is: one read must not wait for another's answer */
#define LOADS_AT_ONCE 6u       /* and not few large ones keep all others waiting */

int image_key_fits(const struct secret *key, const struct descriptor *descriptor)
{
	cleanup_secret struct secret prk, got, want;
	int r = kdf_prk(&prk, SALT_IMAGE, key);

	if (r == 0)
		r = kdf_commitment(got.bytes, &prk);
	if (r < 0)
		return r;
	memcpy(want.bytes, descriptor->key_commitment, sizeof(want.bytes));
	return secret_equal(&got, &want) ? 0 : -ENOKEY;
}

/* Does the image have the digest that the caller insists on? */
static int check_wanted(const struct digest *got, const struct digest *want, const char *what, struct err *e)
{
	char a[DIGEST_TEXT_SIZE], b[DIGEST_TEXT_SIZE];

	if (!want || digest_equal(got, want))
		return 0;
	return err_set(e, -EBADMSG, "%s is %s, wanted %s", what, digest_text(got, a), digest_text(want, b));
}

static int open_manifest(struct image *i, const struct image_options *options, const struct buf *json,
			 struct err *e)
{
	int r = sha256(&i->manifest_digest, json->data, json->size);

	if (r < 0)
		return err_set(e, r, "out of memory");
	r = check_wanted(&i->manifest_digest, options->want_manifest, "manifest", e);
	if (r < 0)
		return r;
	r = oci_manifest_decode(&i->manifest, json->data, json->size, e);
	if (r < 0)
		return err_prefix(e, r, "manifest");
	if (i->manifest.kind != OCI_MANIFEST || !i->manifest.sealed)
		return err_set(e, -ENOTSUP, "not a sealed image");
	return 0;
}

/* [D10] and the number of blobs: the descriptor speaks of exactly these layers. */
static int check_blobs(struct image *i, struct err *e)
{
	uint8_t digests[MAX_BLOBS * DIGEST_SIZE];
	uint32_t n = i->manifest.n_layers;
	struct digest d;
	int r;

	/* and that is not over MAX_BLOBS */
	if (n != i->descriptor.n_blobs)
		return err_set(e, -EUCLEAN, "descriptor [D6]: %u blobs, the manifest has %u layers",
			       i->descriptor.n_blobs, n);
	for (uint32_t k = 0; k < n; k++) {
		memcpy(digests + (size_t)k * DIGEST_SIZE, i->manifest.layers[k].digest.bytes, DIGEST_SIZE);
		i->blob_sizes[k] = i->manifest.layers[k].size;
	}
	r = sha256(&d, digests, (size_t)(n - 1) * DIGEST_SIZE);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (!digest_equal(&d, &i->descriptor.blobs_digest))
		return err_set(e, -EBADMSG, "descriptor [D10]: the manifest's layers are not this image's");
	return 0;
}

/* [M4]: whoever names the manifest, by its digest or in a policy, has named the descriptor with it. Nothing
 * else ties them: another image of the same data blobs, an older version whose metadata differ, would do. */
static int check_identity(const struct image *i, struct err *e)
{
	if (!i->manifest.has_descriptor)
		return err_set(e, -EUCLEAN, "manifest [M4]: it does not say its descriptor");
	return check_wanted(&i->descriptor_digest, &i->manifest.descriptor, "manifest [M4]: the descriptor",
			    e);
}

static int open_descriptor(struct image *i, const struct image_options *options, struct err *e)
{
	int r = sha256(&i->descriptor_digest, i->raw_descriptor, DESCRIPTOR_SIZE);

	if (r < 0)
		return err_set(e, r, "out of memory");
	r = check_wanted(&i->descriptor_digest, options->want_descriptor, "descriptor", e);
	if (r < 0)
		return r;
	if (options->want_either && !digest_equal(&i->manifest_digest, options->want_either))
		r = check_wanted(&i->descriptor_digest, options->want_either, "descriptor", e);
	if (r < 0)
		return r;
	r = descriptor_decode(&i->descriptor, i->raw_descriptor, e);
	if (r == 0)
		r = check_blobs(i, e);
	return r == 0 ? check_identity(i, e) : r;
}

/* From the image key to the root chunk's key; the image key is not needed afterwards. */
static int derive_root_key(struct image *i, const struct image_options *options, struct secret *root_key,
			   struct err *e)
{
	cleanup_secret struct secret key, prk;
	int r = options->find_key(options->find_key_arg, &key, &i->manifest, &i->descriptor,
				  &i->descriptor_digest, e);

	if (r < 0)
		return r;
	r = image_key_fits(&key, &i->descriptor);
	if (r < 0)
		return err_set(e, r, r == -ENOKEY ? "the key is not this image's" : "out of memory");
	r = kdf_prk(&prk, SALT_IMAGE, &key);
	if (r == 0)
		r = kdf_root_key(root_key, &prk, i->raw_descriptor);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int open_root(struct image *i, const struct secret *root_key, struct err *e)
{
	struct root root;
	uint8_t *plain;
	uint32_t size;
	int r = image_load_root(i, root_key, &plain, &size, e);

	if (r < 0)
		return r;
	r = root_decode(&root, plain, size, &i->descriptor, e);
	explicit_bzero(plain, size);
	free(plain);
	if (r < 0)
		return r;
	r = map_new(&i->map, &root, &i->descriptor);
	if (r < 0) {
		root_deinit(&root);
		return err_set(e, r, "out of memory");
	}
	return 0;
}

static int open_parts(struct image *i, const struct image_options *options, struct err *e)
{
	cleanup_secret struct secret root_key;
	cleanup_buf struct buf json;
	int r;

	buf_init(&json, MAX_MANIFEST_SIZE);
	r = i->source->ops->open(i->source, &json, i->raw_descriptor, e);
	if (r == 0)
		r = open_manifest(i, options, &json, e);
	if (r == 0)
		r = open_descriptor(i, options, e);
	if (r == 0 && options->policy)
		r = policy_ask(options->policy, &i->manifest_digest, &i->descriptor_digest, e);
	if (r == 0)
		r = derive_root_key(i, options, &root_key, e);
	if (r == 0)
		r = table_open(&i->table, i->source, &i->descriptor, i->blob_sizes, e);
	if (r == 0)
		r = open_root(i, &root_key, e);
	return r;
}

int image_open(struct image **out, struct source *source, const struct image_options *options, struct err *e)
{
	struct image *i = calloc(1, sizeof(*i));
	size_t loading;
	int r;

	if (!i)
		return err_set(e, -ENOMEM, "out of memory");
	i->source = source;
	/* the rest is for answers of the host and to the kernel, on their way */
	i->cache_bytes = (options->cache_bytes ? options->cache_bytes : DEFAULT_CACHE_BYTES) / 4 * 3;
	loading = i->cache_bytes / 2 > LOADING_MIN ? i->cache_bytes / 2 : LOADING_MIN;
	i->load_max_bytes =
		loading / LOADS_AT_ONCE < LOAD_MAX_BYTES ? loading / LOADS_AT_ONCE : LOAD_MAX_BYTES;
	i->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
	r = opener_pool_init(&i->openers);
	if (r < 0) {
		free(i);
		return err_set(e, r, "out of memory");
	}
	r = plain_cache_new(&i->cache, i->cache_bytes, loading);
	if (r < 0)
		(void)err_set(e, r, "out of memory");
	if (r == 0)
		r = open_parts(i, options, e);
	if (r == 0)
		r = ahead_start(&i->ahead, i, e);
	if (r < 0) {
		i->source = NULL; /* the caller's again */
		image_close(i);
		return r;
	}
	*out = i;
	return 0;
}

void image_stop(struct image *i)
{
	if (i->source && i->source->ops->stop)
		i->source->ops->stop(i->source);
}

void image_close(struct image *i)
{
	if (!i)
		return;
	image_stop(i);
	startup_stop(i->startup);
	ahead_stop(i->ahead);
	map_free(i->map);
	table_close(i->table);
	plain_cache_free(i->cache);
	opener_pool_deinit(&i->openers);
	oci_manifest_deinit(&i->manifest);
	if (i->source)
		i->source->ops->close(i->source);
	free(i);
}

const struct descriptor *image_descriptor(const struct image *i)
{
	return &i->descriptor;
}

const struct digest *image_descriptor_digest(const struct image *i)
{
	return &i->descriptor_digest;
}

const struct digest *image_manifest_digest(const struct image *i)
{
	return &i->manifest_digest;
}

const struct oci_manifest *image_manifest(const struct image *i)
{
	return &i->manifest;
}

/* What [offset, offset + n) and the chunk's own range share. */
static struct iovec shared_part(size_t n, uint64_t offset, const struct extent *x, const struct chunk *c)
{
	size_t at = (size_t)(offset - (uint64_t)x->first_block * BLOCK_SIZE), part = c->size - at;

	return (struct iovec){c->plain + at, part < n ? part : n};
}

/* How much of [offset, offset + n) comes no later than the end of `last`. */
static size_t covered(const struct extent *last, uint64_t offset, size_t n)
{
	uint64_t end = (uint64_t)last->first_block * BLOCK_SIZE + last->plain_size;

	return end - offset < n ? (size_t)(end - offset) : n;
}

/* The extents of [offset, offset + n), as many as one claim takes; *size of its bytes are in them. */
static int find_range(struct image *i, size_t n, uint64_t offset, const struct deadline *deadline,
		      struct extent x[static LOAD_MAX_CHUNKS], size_t *count, size_t *size, struct err *e)
{
	uint32_t first = (uint32_t)(offset / BLOCK_SIZE);
	uint32_t end = (uint32_t)((offset + n + BLOCK_SIZE - 1) / BLOCK_SIZE);
	int r = image_extents(i, first, end, deadline, x, count, e);

	if (r == 0)
		*size = covered(&x[*count - 1], offset, n);
	return r;
}

/* Claim what was found, and have it read on from there. */
static int claim_range(struct image *i, const struct extent *x, size_t count, size_t size, uint64_t offset,
		       const struct deadline *deadline, struct chunk **chunks, struct err *e)
{
	if (!startup_hides(i->startup, x, count))
		ahead_observe(i->ahead, offset, size);
	return image_claim(i, x, count, deadline, chunks, e);
}

static int read_some(struct image *i, uint8_t *to, size_t n, uint64_t offset, const struct deadline *deadline,
		     size_t *done, struct err *e)
{
	struct extent x[LOAD_MAX_CHUNKS];
	struct chunk *chunks[LOAD_MAX_CHUNKS];
	size_t count, size;
	int r = find_range(i, n, offset, deadline, x, &count, &size, e);

	if (r == 0)
		r = claim_range(i, x, count, size, offset, deadline, chunks, e);
	if (r == 0) {
		*done = 0;
		for (size_t k = 0; k < count; k++) {
			struct iovec part = shared_part(n - *done, offset + *done, &x[k], chunks[k]);

			memcpy(to + *done, part.iov_base, part.iov_len);
			*done += part.iov_len;
		}
		image_release(i, chunks, count);
	}
	explicit_bzero(x, sizeof(x));
	return r;
}

static bool is_inside(const struct image *i, size_t n, uint64_t offset)
{
	return offset <= i->descriptor.image_size && n <= i->descriptor.image_size - offset;
}

int image_view(struct image *i, struct image_view *v, size_t n, uint64_t offset, struct err *e)
{
	struct deadline deadline = deadline_after(i->timeout_ms);
	struct extent x[LOAD_MAX_CHUNKS];
	size_t count, size;
	int r;

	if (n == 0 || !is_inside(i, n, offset))
		return err_set(e, -EINVAL, "a view past the end of the image");
	r = find_range(i, n, offset, &deadline, x, &count, &size, e);
	if (r == 0 && size < n)
		r = VIEW_TOO_LARGE;
	if (r == 0)
		r = claim_range(i, x, count, size, offset, &deadline, v->chunks, e);
	if (r == 0) {
		v->n_parts = count;
		for (size_t k = 0, done = 0; k < count; done += v->parts[k++].iov_len)
			v->parts[k] = shared_part(n - done, offset + done, &x[k], v->chunks[k]);
		atomic_fetch_add_explicit(&i->plain_bytes, n, memory_order_relaxed);
	}
	explicit_bzero(x, sizeof(x));
	return r;
}

void image_view_release(struct image *i, struct image_view *v)
{
	image_release(i, v->chunks, v->n_parts);
}

int image_pread(struct image *i, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct deadline deadline = deadline_after(i->timeout_ms);
	uint8_t *p = to;
	size_t left = n;

	if (!is_inside(i, n, offset))
		return err_set(e, -EINVAL, "read past the end of the image");
	while (left > 0) {
		size_t done;
		int r = left < n && deadline_passed(&deadline)
				? err_set(e, -ETIMEDOUT, "%zu of %zu bytes came in time", n - left, n)
				: read_some(i, p, left, offset, &deadline, &done, e);

		if (r < 0) {
			explicit_bzero(to, n);
			return r;
		}
		p += done;
		offset += done;
		left -= done;
	}
	atomic_fetch_add_explicit(&i->plain_bytes, n, memory_order_relaxed);
	return 0;
}

int image_config(struct image *i, struct buf *to, struct err *e)
{
	const struct root *root = map_root(i->map);

	return image_read_object(i, root_config(root), root->n_config_chunks, to, e);
}

void image_stats(const struct image *i, struct image_stats *out)
{
	*out = (struct image_stats){
		.stored_bytes = atomic_load_explicit(&i->stored_bytes, memory_order_relaxed),
		.plain_bytes = atomic_load_explicit(&i->plain_bytes, memory_order_relaxed),
		.chunks = atomic_load_explicit(&i->chunks, memory_order_relaxed),
		.failures = atomic_load_explicit(&i->failures, memory_order_relaxed),
	};
	if (i->source->ops->stats)
		i->source->ops->stats(i->source, &out->source);
}
