/* SPDX-License-Identifier: Apache-2.0
 * The order of making is the reverse of the order of reading: metadata, config, map and start-up chunks are
 * sealed first, then the root chunk that names them, then the table, the tree over it, and the descriptor.
 * Sealed metadata waits in a spool file, because its place depends on how many chunks there are. */
#include "publisher/index_writer.h"
#include "crypto/kdf.h"
#include "crypto/merkle.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/format/chunk_table.h"
#include "proto/format/descriptor.h"
#include "proto/format/root.h"
#include "publisher/image_map.h"
#include "publisher/startup_chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define METADATA_CHUNK (128u << 10)
/* Extents of a map page: 64 KiB of them cover some 250 MB of image. */
#define PAGE_EXTENTS ((64u << 10) / EXTENT_SIZE)

struct index_writer {
	struct seal_pool *pool;
	struct secret prk_meta;
	int spool;
	uint64_t spooled;	/* bytes */
	struct chunk_list meta; /* chunks 1 … of the image: record i is chunk i + 1 */
	uint32_t *order;	/* owned; each sealed piece, in the order of sealing: a number into `meta` */
	size_t n_order, room;
	size_t fill; /* of the pool's buffer */
};

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* A metadata chunk was sealed. */
static int take_chunk(void *arg, const struct sealed_chunk *chunk, const uint8_t *stored, struct err *e)
{
	struct index_writer *w = arg;
	uint32_t number;
	int known, r;

	if (w->n_order == w->room) {
		size_t room = w->room ? w->room * 2 : 64;
		uint32_t *order = reallocarray(w->order, room, sizeof(*order));

		if (!order)
			return no_memory(e);
		w->order = order;
		w->room = room;
	}
	known = chunk_list_add(&w->meta, chunk, w->spooled, 0, &number);
	if (known < 0)
		return err_errno(e, known, "metadata chunk %zu", w->n_order);
	w->order[w->n_order++] = number;
	if (known == CHUNK_KNOWN)
		return 0;
	r = write_full(w->spool, stored, chunk->stored_size);
	w->spooled += chunk->stored_size;
	return r < 0 ? err_errno(e, r, "cannot write sealed metadata") : 0;
}

int index_writer_new(struct index_writer **out, struct seal_pool *pool, int spool_fd, struct err *e)
{
	struct index_writer *w = calloc(1, sizeof(*w));
	cleanup_secret struct secret random;
	int r;

	if (!w)
		return no_memory(e);
	r = secret_random(&random);
	if (r == 0)
		r = kdf_prk(&w->prk_meta, SALT_META, &random);
	if (r < 0) {
		free(w);
		return err_errno(e, r, "cannot make a key for the metadata");
	}
	w->pool = pool;
	w->spool = spool_fd;
	seal_pool_begin(pool, &w->prk_meta, take_chunk, w);
	*out = w;
	return 0;
}

void index_writer_free(struct index_writer *w)
{
	if (!w)
		return;
	/* results may still be on their way to us */
	(void)seal_pool_drain(w->pool, NULL);
	chunk_list_deinit(&w->meta);
	secret_wipe(&w->prk_meta);
	free(w->order);
	free(w);
}

static int flush(struct index_writer *w, struct err *e)
{
	size_t n = w->fill;

	w->fill = 0;
	return n == 0 ? 0 : seal_pool_submit(w->pool, n, e);
}

/* Append to the chunk being made, and seal it when it has `chunk_size` bytes. */
static int put(struct index_writer *w, const void *data, size_t n, size_t chunk_size, struct err *e)
{
	const uint8_t *p = data;

	while (n > 0) {
		size_t part = chunk_size - w->fill < n ? chunk_size - w->fill : n;
		int r = 0;

		memcpy(seal_pool_buffer(w->pool) + w->fill, p, part);
		w->fill += part;
		p += part;
		n -= part;
		if (w->fill == chunk_size)
			r = flush(w, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int index_writer_metadata(struct index_writer *w, const void *p, size_t n, struct err *e)
{
	return put(w, p, n, METADATA_CHUNK, e);
}

/* Seal what is in the buffer and wait for all results. */
static int settle(struct index_writer *w, struct err *e)
{
	int r = flush(w, e);

	return r < 0 ? r : seal_pool_drain(w->pool, e);
}

/* What index_writer_finish() works out on its way. */
struct layout {
	struct image_map map;
	struct startup_chunks startup;
	size_t n_fs;				    /* pieces of EROFS metadata: the first of w->order */
	size_t n_config, n_pages, n_startup_chunks; /* pieces that follow them */
	uint32_t *page_start;			    /* owned; first block of each map page */
	uint64_t startup_stored;		    /* bytes of the chunks on the start-up list */
	struct descriptor descriptor;
};

static void layout_deinit(struct layout *l)
{
	image_map_deinit(&l->map);
	startup_chunks_deinit(&l->startup);
	free(l->page_start);
}

static size_t divide_up(size_t n, size_t by)
{
	return (n + by - 1) / by;
}

/* How many chunks there are, before those exist whose content depends on the number. */
static int count_chunks(struct index_writer *w, struct layout *l, const struct index_inputs *in,
			struct err *e)
{
	size_t n_meta;

	l->n_pages = divide_up(l->n_fs + l->map.n_extents, PAGE_EXTENTS);
	l->n_startup_chunks = divide_up(l->startup.n * 4, SEAL_POOL_CHUNK);
	l->page_start = calloc(l->n_pages, sizeof(*l->page_start));
	if (!l->page_start)
		return no_memory(e);
	n_meta = 1 + w->meta.n + l->n_pages + l->n_startup_chunks;
	if (n_meta + l->map.data.n > 1u << 30)
		return err_set(e, -E2BIG, "the image has more than 2^30 chunks");
	l->descriptor.n_meta_chunks = (uint32_t)n_meta;
	l->descriptor.n_chunks = (uint32_t)(n_meta + l->map.data.n);
	l->descriptor.n_blobs = (uint32_t)in->n_layers + 1;
	l->descriptor.max_chunk_size = SEAL_POOL_CHUNK;
	l->descriptor.meta_offset = meta_offset_of(l->descriptor.n_chunks);
	return 0;
}

static int write_map(struct index_writer *w, struct layout *l, struct err *e)
{
	size_t n = l->n_fs + l->map.n_extents;
	cleanup_buf struct buf raw;
	uint64_t block = 0;
	int r = 0;

	buf_init_secret(&raw, EXTENT_SIZE);
	for (size_t i = 0; i < n && r == 0; i++) {
		bool fs = i < l->n_fs;
		uint32_t number = fs ? w->order[i] : l->map.extents[i - l->n_fs];
		const struct sealed_chunk *c =
			fs ? &w->meta.records[number].chunk : &l->map.data.records[number].chunk;
		struct extent x = {.first_block = (uint32_t)block, .plain_size = c->plain_size};

		x.chunk = number + (fs ? 1 : l->descriptor.n_meta_chunks);
		memcpy(x.key, c->key.bytes, sizeof(x.key));
		raw.size = 0;
		extent_encode(&x, &raw);
		explicit_bzero(&x, sizeof(x));
		if (i % PAGE_EXTENTS == 0)
			l->page_start[i / PAGE_EXTENTS] = (uint32_t)block;
		block += c->plain_size / BLOCK_SIZE;
		if (c->plain_size % BLOCK_SIZE || block > UINT32_MAX)
			r = err_set(e, -E2BIG, "the image is too large, or its metadata is not whole blocks");
		else if (buf_failed(&raw))
			r = no_memory(e);
		else
			r = put(w, raw.data, raw.size, (size_t)PAGE_EXTENTS * EXTENT_SIZE, e);
	}
	l->descriptor.image_size = block * BLOCK_SIZE;
	return r < 0 ? r : settle(w, e);
}

static int find_startup(const struct index_writer *w, struct layout *l, const struct index_inputs *in)
{
	struct startup_division d = {
		.map = &l->map,
		.piece_blocks = METADATA_CHUNK / BLOCK_SIZE,
		.n_pieces = l->n_fs,
		.page_extents = PAGE_EXTENTS,
	};

	if (in->n_startup == 0)
		return 0;
	for (size_t i = 0; i < l->n_fs; i++)
		d.meta_blocks += w->meta.records[w->order[i]].chunk.plain_size / BLOCK_SIZE;
	return startup_chunks_find(&l->startup, &d, in->startup_blocks, in->n_startup);
}

/* One entry of the list: piece `number` of the metadata, or of the data. */
static int put_startup(struct index_writer *w, struct layout *l, bool meta, uint32_t number, struct err *e)
{
	const struct chunk_record *c = meta ? &w->meta.records[number] : &l->map.data.records[number];
	uint8_t raw[4];

	put_le32(raw, number + (meta ? 1 : l->descriptor.n_meta_chunks));
	l->startup_stored += c->chunk.stored_size;
	return put(w, raw, sizeof(raw), SEAL_POOL_CHUNK, e);
}

/* What leads to other things goes first: map, metadata, data. */
static int write_startup(struct index_writer *w, struct layout *l, struct err *e)
{
	const struct startup_chunks *s = &l->startup;
	int r = 0;

	for (size_t i = 0; s->n && i < l->n_pages && r == 0; i++)
		if (s->pages[i])
			r = put_startup(w, l, true, w->order[l->n_fs + l->n_config + i], e);
	for (size_t i = 0; s->n && i < l->n_fs && r == 0; i++)
		if (s->pieces[i])
			r = put_startup(w, l, true, w->order[i], e);
	for (size_t i = 0; i < s->n_data && r == 0; i++)
		r = put_startup(w, l, false, s->data[i], e);
	return r < 0 ? r : settle(w, e);
}

/* Everything but the root chunk: config, map and start-up list behind the metadata that is there already. */
static int seal_metadata(struct index_writer *w, struct layout *l, const struct index_inputs *in,
			 struct err *e)
{
	int r = settle(w, e);

	l->n_fs = w->n_order;
	if (r == 0)
		r = put(w, in->config, in->config_size, METADATA_CHUNK, e);
	if (r == 0)
		r = settle(w, e);
	l->n_config = w->n_order - l->n_fs;
	if (r == 0 && find_startup(w, l, in) < 0)
		r = no_memory(e);
	if (r == 0)
		r = count_chunks(w, l, in, e);
	if (r == 0)
		r = write_map(w, l, e);
	if (r == 0)
		r = write_startup(w, l, e);
	if (r == 0 && w->meta.n + 1 != l->descriptor.n_meta_chunks)
		r = err_set(e, -EUCLEAN, "two pieces of sealed metadata are the same");
	return r;
}

/* The pieces from `first` on, n of them, become extents of the root. */
static void root_extents(const struct index_writer *w, size_t first, size_t n, struct extent *to)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t number = w->order[first + i];
		const struct sealed_chunk *c = &w->meta.records[number].chunk;

		to[i].chunk = number + 1;
		to[i].plain_size = c->plain_size;
		memcpy(to[i].key, c->key.bytes, sizeof(to[i].key));
	}
}

/* The root chunk's plaintext, appended to `plain`. */
static int make_root(const struct index_writer *w, const struct layout *l, const struct index_inputs *in,
		     struct buf *plain, struct err *e)
{
	size_t n = l->n_pages + l->n_config + l->n_startup_chunks;
	struct root root = {.n_map_pages = (uint32_t)l->n_pages,
			    .n_config_chunks = (uint32_t)l->n_config,
			    .n_startup_chunks = (uint32_t)l->n_startup_chunks,
			    .config_size = in->config_size,
			    .startup_size = l->startup.n * 4};

	root.extents = calloc(n, sizeof(*root.extents));
	if (!root.extents)
		return no_memory(e);
	root_extents(w, l->n_fs + l->n_config, l->n_pages, root.extents);
	root_extents(w, l->n_fs, l->n_config, root.extents + l->n_pages);
	root_extents(w, l->n_fs + l->n_config + l->n_pages, l->n_startup_chunks,
		     root.extents + l->n_pages + l->n_config);
	for (size_t i = 0; i < l->n_pages; i++)
		root.extents[i].first_block = l->page_start[i];
	root_encode(&root, plain);
	root_deinit(&root);
	return buf_failed(plain) ? err_set(e, -E2BIG, "the image is too large for one root chunk") : 0;
}

/* Message, salt, key and seal of the root chunk. */
static int seal_root(struct chunk_sealer *sealer, const struct buf *plain, const struct secret *image_key,
		     struct descriptor *d, struct sealed_chunk *out, const uint8_t **stored)
{
	cleanup_secret struct secret prk, random, key;
	uint8_t raw[DESCRIPTOR_SIZE];
	struct digest m_digest;
	uint32_t stored_size;
	int r = chunk_message(sealer, plain->data, plain->size, &m_digest, &stored_size);

	if (r == 0)
		r = kdf_prk(&prk, SALT_IMAGE, image_key);
	if (r == 0)
		r = secret_random(&random);
	if (r == 0)
		r = kdf_salt(d->salt, &prk, &random, &m_digest);
	if (r == 0)
		r = kdf_commitment(d->key_commitment, &prk);
	if (r < 0)
		return r;
	descriptor_encode(d, raw);
	r = kdf_root_key(&key, &prk, raw);
	return r < 0 ? r : chunk_seal_message(sealer, &key, out, stored);
}

static int digest_blobs(struct digest *out, const struct index_inputs *in)
{
	struct sha256 hash;
	int r = sha256_init(&hash);

	for (size_t i = 0; i < in->n_layers && r == 0; i++)
		r = sha256_update(&hash, in->layers[i].digest.bytes, DIGEST_SIZE);
	if (r == 0)
		return sha256_final(&hash, out);
	sha256_deinit(&hash);
	return r;
}

/* Chunk table, superblock and hash tree in one piece; the tree's root goes into the descriptor. */
static int make_public(const struct index_writer *w, struct layout *l, const struct sealed_chunk *root,
		       uint8_t **out, struct err *e)
{
	struct descriptor *d = &l->descriptor;
	uint64_t table = chunk_table_size(d->n_chunks);
	cleanup_free uint8_t *p = calloc(1, d->meta_offset);
	struct merkle_shape shape;
	int r;

	if (!p)
		return no_memory(e);
	for (uint32_t i = 0; i < d->n_chunks; i++) {
		struct chunk_entry c = {.id = root->id,
					.offset = d->meta_offset + w->spooled,
					.stored_size = root->stored_size,
					.blob = d->n_blobs - 1};

		if (i > 0) {
			bool meta = i < d->n_meta_chunks;
			const struct chunk_record *x =
				meta ? &w->meta.records[i - 1] : &l->map.data.records[i - d->n_meta_chunks];

			c.id = x->chunk.id;
			c.offset = x->offset + (meta ? d->meta_offset : 0);
			c.stored_size = x->chunk.stored_size;
			c.blob = meta ? d->n_blobs - 1 : x->blob;
		}
		chunk_entry_encode(&c, p + (size_t)i * CHUNK_ENTRY_SIZE);
	}
	r = merkle_shape_init(&shape, table / BLOCK_SIZE);
	if (r == 0)
		r = verity_superblock_encode(p + table, table / BLOCK_SIZE, d->salt);
	if (r == 0)
		r = merkle_build(&shape, p, p + table + BLOCK_SIZE, d->salt, &d->root_hash);
	if (r < 0)
		return err_errno(e, r, "cannot build the hash tree");
	*out = take_ptr(p);
	return 0;
}

struct output {
	int fd;
	struct sha256 hash;
	uint64_t size;
};

static int emit(struct output *o, const void *p, size_t n, struct err *e)
{
	int r = write_full(o->fd, p, n);

	if (r == 0)
		r = sha256_update(&o->hash, p, n);
	o->size += n;
	return r < 0 ? err_errno(e, r, "cannot write the index") : 0;
}

static int emit_spool(struct output *o, const struct index_writer *w, struct err *e)
{
	uint8_t piece[32768];
	int r = 0;

	for (uint64_t at = 0, n; at < w->spooled && r == 0; at += n) {
		n = w->spooled - at < sizeof(piece) ? w->spooled - at : sizeof(piece);
		r = pread_full(w->spool, piece, n, at);
		r = r < 0 ? err_errno(e, r, "cannot read sealed metadata") : emit(o, piece, n, e);
	}
	return r;
}

/* The index blob, from its first byte to its last. */
static int emit_index(struct output *o, const struct index_writer *w, struct layout *l,
		      const struct sealed_chunk *root, const uint8_t *stored, struct index_result *out,
		      struct err *e)
{
	cleanup_free uint8_t *public = NULL;
	uint8_t raw[DESCRIPTOR_SIZE];
	int r = make_public(w, l, root, &public, e);

	if (r == 0)
		r = emit(o, public, l->descriptor.meta_offset, e);
	if (r == 0)
		r = emit_spool(o, w, e);
	if (r == 0)
		r = emit(o, stored, root->stored_size, e);
	descriptor_encode(&l->descriptor, raw);
	if (r == 0)
		r = emit(o, raw, sizeof(raw), e);
	if (r < 0)
		return r;
	if (sha256(&out->descriptor, raw, sizeof(raw)) < 0 || sha256_final(&o->hash, &out->digest) < 0)
		return no_memory(e);
	out->size = o->size;
	out->image_size = l->descriptor.image_size;
	out->n_chunks = l->descriptor.n_chunks;
	out->n_meta_chunks = l->descriptor.n_meta_chunks;
	out->n_startup = (uint32_t)l->startup.n;
	out->startup_stored = l->startup_stored;
	return 0;
}

/* The root chunk, and with it the whole blob. */
static int write_index(const struct index_writer *w, struct layout *l, const struct index_inputs *in, int fd,
		       struct index_result *out, struct err *e)
{
	struct output o = {.fd = fd};
	struct chunk_sealer *sealer = NULL;
	struct sealed_chunk root;
	const uint8_t *stored;
	cleanup_buf struct buf plain;
	int r;

	buf_init_secret(&plain, SEAL_POOL_CHUNK);
	r = make_root(w, l, in, &plain, e);
	if (r == 0 && (chunk_sealer_new(&sealer, seal_pool_options(w->pool)) < 0 || sha256_init(&o.hash) < 0))
		r = no_memory(e);
	if (r == 0) {
		r = seal_root(sealer, &plain, in->image_key, &l->descriptor, &root, &stored);
		if (r < 0)
			(void)err_errno(e, r, "cannot seal the root chunk");
	}
	if (r == 0)
		r = emit_index(&o, w, l, &root, stored, out, e);
	explicit_bzero(&root, sizeof(root));
	sha256_deinit(&o.hash);
	chunk_sealer_free(sealer);
	return r;
}

int index_writer_finish(struct index_writer *w, const struct index_inputs *in, int fd,
			struct index_result *out, struct err *e)
{
	struct layout l = {0};
	int r;

	if (in->n_layers == 0 || in->n_layers >= MAX_BLOBS)
		return err_set(e, -E2BIG, "%zu layers; an image has 1 to %u", in->n_layers, MAX_BLOBS - 1);
	if (in->config_size == 0 || in->config_size > MAX_CONFIG_SIZE)
		return err_set(e, -E2BIG, "a config of %zu bytes", in->config_size);
	r = image_map_init(&l.map, in->layers, in->n_layers);
	if (r == 0)
		r = digest_blobs(&l.descriptor.blobs_digest, in);
	r = r < 0 ? err_errno(e, r, "cannot lay out the image") : seal_metadata(w, &l, in, e);
	if (r == 0)
		r = write_index(w, &l, in, fd, out, e);
	layout_deinit(&l);
	return r;
}
