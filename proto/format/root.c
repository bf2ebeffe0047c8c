/* SPDX-License-Identifier: Apache-2.0
 * Encoding and checking the root chunk's plaintext and map pages. */
#include "proto/format/root.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_HEADER_SIZE 40u

static const uint8_t magic[8] = {'C', 'O', 'C', 'O', 'O', 'N', 'R', '1'};

static int extent_decode(struct extent *x, struct bytes *b, const struct descriptor *d, struct err *e)
{
	x->first_block = bytes_le32(b);
	x->chunk = bytes_le32(b);
	x->plain_size = bytes_le32(b);
	bytes_zero(b, 4);
	bytes_copy(b, x->key, sizeof(x->key));
	if (b->bad)
		return err_set(e, -EUCLEAN, "extent [E3]: short or reserved bytes are not zero");
	if (x->chunk == 0 || x->chunk >= d->n_chunks)
		return err_set(e, -EUCLEAN, "extent [E1]: chunk %u of %u", x->chunk, d->n_chunks);
	if (x->plain_size == 0 || x->plain_size > d->max_chunk_size)
		return err_set(e, -EUCLEAN, "extent [E2]: chunk of %u plaintext bytes", x->plain_size);
	return 0;
}

/* Map pages start at block 0 and ascend. */
static int check_pages(const struct root *r, const struct descriptor *d, struct err *e)
{
	uint32_t n_blocks = (uint32_t)(d->image_size / BLOCK_SIZE);

	for (uint32_t i = 0; i < r->n_map_pages; i++) {
		uint32_t first = r->extents[i].first_block;

		if (i == 0 ? first != 0 : first <= r->extents[i - 1].first_block || first >= n_blocks)
			return err_set(e, -EUCLEAN, "root [A1]: map page %u starts at block %u", i, first);
		if (r->extents[i].plain_size % EXTENT_SIZE)
			return err_set(e, -EUCLEAN, "root [A1]: map page %u has %u bytes", i,
				       r->extents[i].plain_size);
	}
	return 0;
}

/* Config and start-up chunks together hold exactly what the header says. */
static int check_object(const struct extent *x, uint32_t n, uint64_t size, const char *what, struct err *e)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (x[i].first_block != 0)
			return err_set(e, -EUCLEAN, "root [O1]: %s chunk with an address", what);
		total += x[i].plain_size;
	}
	if (total != size)
		return err_set(e, -EUCLEAN, "root [O1]: %s of %llu bytes in chunks of %llu", what,
			       (unsigned long long)size, (unsigned long long)total);
	return 0;
}

static int check_root(const struct root *r, const struct descriptor *d, struct err *e)
{
	int x = check_pages(r, d, e);

	if (x < 0)
		return x;
	x = check_object(root_config(r), r->n_config_chunks, r->config_size, "config", e);
	if (x < 0)
		return x;
	return check_object(root_startup(r), r->n_startup_chunks, r->startup_size, "start-up list", e);
}

static int check_counts(const struct root *r, uint64_t n, size_t left, const struct descriptor *d,
			struct err *e)
{
	if (r->n_map_pages == 0)
		return err_set(e, -EUCLEAN, "root [R2]: no map");
	if (r->n_config_chunks == 0 || r->config_size == 0 || r->config_size > MAX_CONFIG_SIZE)
		return err_set(e, -EUCLEAN, "root [R3]: no config, or a config of %llu bytes",
			       (unsigned long long)r->config_size);
	if (r->startup_size > 4ull * d->n_chunks || r->startup_size % 4 ||
	    (r->startup_size == 0) != (r->n_startup_chunks == 0))
		return err_set(e, -EUCLEAN, "root [R4]: start-up list of %llu bytes",
			       (unsigned long long)r->startup_size);
	if (n * EXTENT_SIZE != left)
		return err_set(e, -EUCLEAN, "root [R5]: %zu bytes for %llu extents", left,
			       (unsigned long long)n);
	return 0;
}

int root_decode(struct root *out, const uint8_t *plain, size_t size, const struct descriptor *d,
		struct err *e)
{
	struct bytes b = bytes_of(plain, size);
	uint8_t m[sizeof(magic)];
	struct root r = {0};
	uint64_t n;
	int x;

	bytes_copy(&b, m, sizeof(m));
	r.n_map_pages = bytes_le32(&b);
	r.n_config_chunks = bytes_le32(&b);
	r.n_startup_chunks = bytes_le32(&b);
	bytes_zero(&b, 4);
	r.config_size = bytes_le64(&b);
	r.startup_size = bytes_le64(&b);
	if (b.bad || memcmp(m, magic, sizeof(magic)) != 0)
		return err_set(e, -EUCLEAN, "root [R1]: not a root chunk");
	n = (uint64_t)r.n_map_pages + r.n_config_chunks + r.n_startup_chunks;
	x = check_counts(&r, n, b.left, d, e);
	if (x < 0)
		return x;
	r.extents = calloc(n, sizeof(*r.extents));
	if (!r.extents)
		return err_set(e, -ENOMEM, "root: out of memory");
	for (uint64_t i = 0; i < n && x == 0; i++)
		x = extent_decode(&r.extents[i], &b, d, e);
	if (x == 0)
		x = check_root(&r, d, e);
	if (x < 0) {
		root_deinit(&r);
		return x;
	}
	*out = r;
	return 0;
}

void root_deinit(struct root *r)
{
	size_t n = (size_t)r->n_map_pages + r->n_config_chunks + r->n_startup_chunks;

	if (r->extents)
		explicit_bzero(r->extents, n * sizeof(*r->extents));
	free(r->extents);
	*r = (struct root){0};
}

void extent_encode(const struct extent *x, struct buf *to)
{
	buf_le32(to, x->first_block);
	buf_le32(to, x->chunk);
	buf_le32(to, x->plain_size);
	buf_zero(to, 4);
	buf_put(to, x->key, sizeof(x->key));
}

void root_encode(const struct root *r, struct buf *to)
{
	size_t n = (size_t)r->n_map_pages + r->n_config_chunks + r->n_startup_chunks;

	buf_put(to, magic, sizeof(magic));
	buf_le32(to, r->n_map_pages);
	buf_le32(to, r->n_config_chunks);
	buf_le32(to, r->n_startup_chunks);
	buf_zero(to, 4);
	buf_le64(to, r->config_size);
	buf_le64(to, r->startup_size);
	for (size_t i = 0; i < n; i++)
		extent_encode(&r->extents[i], to);
}

int map_page_decode(struct extent **out, size_t *n, const uint8_t *plain, size_t size, uint32_t first,
		    uint32_t end, const struct descriptor *d, struct err *e)
{
	struct bytes b = bytes_of(plain, size);
	size_t count = size / EXTENT_SIZE;
	uint64_t at = first;
	struct extent *x;
	int r = 0;

	if (count == 0 || size % EXTENT_SIZE || size > MAX_CHUNK_SIZE)
		return err_set(e, -EUCLEAN, "map page [A1]: %zu bytes", size);
	x = calloc(count, sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "map page: out of memory");
	for (size_t i = 0; i < count && r == 0; i++) {
		r = extent_decode(&x[i], &b, d, e);
		if (r == 0 && (x[i].first_block != at || x[i].plain_size % BLOCK_SIZE))
			r = err_set(e, -EUCLEAN, "map page [A1]: extent at block %u, expected %llu",
				    x[i].first_block, (unsigned long long)at);
		at += x[i].plain_size / BLOCK_SIZE;
	}
	if (r == 0 && at != end)
		r = err_set(e, -EUCLEAN, "map page [A1]: ends at block %llu, expected %u",
			    (unsigned long long)at, end);
	if (r < 0) {
		explicit_bzero(x, count * sizeof(*x));
		free(x);
		return r;
	}
	*out = x;
	*n = count;
	return 0;
}
