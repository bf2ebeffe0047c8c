/* SPDX-License-Identifier: Apache-2.0
 * Sealing as FORMAT.md tells it, without regard for speed. Section numbers are those of that page. */
#include "seal_fixture.h"
#include "test/unit/must.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct entry {
	uint8_t id[32];
	uint64_t offset;
	uint32_t size, blob;
};

struct piece { /* an extent whose chunk has no number yet: metadata and data are counted apart */
	uint32_t first_block, chunk, size;
	uint8_t key[32];
	bool meta;
};

struct sealing {
	struct sealed *out;
	const struct seal_options *o;
	struct seal_secrets secrets;
	uint8_t prk_domain[32], prk_meta[32], prk_image[32];
	struct blob meta_area; /* sealed metadata chunks, offsets from meta_offset */
	struct entry *meta, *data;
	uint32_t n_meta, n_data; /* meta[0] is the root, made last */
	struct piece *pieces;
	uint32_t n_pieces;
};

/* Room for one more behind n, one at a time: twice as much whenever n is a power of two. */
static void *grow(void *p, size_t n, size_t size)
{
	if (n & (n - 1))
		return p;
	p = realloc(p, (n ? 2 * n : 1) * size);
	must(p);
	return p;
}

static void put(struct blob *b, const void *p, size_t n)
{
	if (b->size + n + 1 > b->room) {
		b->room = 2 * (b->size + n + 1);
		b->data = realloc(b->data, b->room);
		must(b->data);
	}
	if (n)
		memcpy(b->data + b->size, p, n);
	b->size += n;
}

static void put_le(struct blob *b, uint64_t v, int n)
{
	for (int i = 0; i < n; i++) {
		uint8_t byte = (uint8_t)(v >> 8 * i);

		put(b, &byte, 1);
	}
}

static void hash(uint8_t out[32], const void *p, size_t n)
{
	must(EVP_Digest(p, n, out, NULL, EVP_sha256(), NULL));
}

static void hmac(uint8_t out[32], const void *key, size_t key_size, const struct blob *b)
{
	must(HMAC(EVP_sha256(), key, (int)key_size, b->data, b->size, out, NULL));
}

/* RFC 5869 for 32 bytes of output: T(1) = HMAC(PRK, info ‖ 01). */
static void expand(uint8_t out[32], const uint8_t prk[32], const char *label, const struct blob *rest)
{
	struct blob info = {0};

	put(&info, label, strlen(label) + 1);
	put(&info, rest->data, rest->size);
	put_le(&info, 1, 1);
	hmac(out, prk, 32, &info);
	free(info.data);
}

static void extract(uint8_t prk[32], const char *salt, const uint8_t secret[32])
{
	struct blob ikm = {0};

	put(&ikm, secret, 32);
	hmac(prk, salt, strlen(salt), &ikm);
	free(ikm.data);
}

void seal_message(uint8_t *out, const uint8_t *m, size_t n, const uint8_t key[static 32])
{
	static const uint8_t nonce[12];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int done;

	must(c && EVP_EncryptInit(c, EVP_aes_256_gcm(), key, nonce) == 1);
	must(EVP_EncryptUpdate(c, NULL, &done, (const uint8_t *)"cocoon/1 chunk", 14) == 1);
	must(EVP_EncryptUpdate(c, out, &done, m, (int)n) == 1);
	must(EVP_EncryptFinal(c, out + done, &done) == 1);
	must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out + n) == 1);
	EVP_CIPHER_CTX_free(c);
}

/* §6: header ‖ payload ‖ padding. */
static struct blob message(const struct seal_options *o, const uint8_t *plain, size_t n)
{
	size_t room = ZSTD_compressBound(n);
	uint8_t *frame = malloc(room);
	size_t frame_size = ZSTD_compress(frame, room, plain, n, 3);
	bool raw = o->raw || ZSTD_isError(frame_size) || frame_size >= n;
	struct blob m = {0};

	must(frame);
	put_le(&m, raw ? 0 : 1, 4);
	put_le(&m, raw ? n : frame_size, 4);
	put_le(&m, n, 4);
	put_le(&m, 0, 4);
	put(&m, raw ? plain : frame, raw ? n : frame_size);
	put_le(&m, 0, 0);
	for (uint32_t i = 0; i < o->padding; i++)
		put_le(&m, 0, 1);
	free(frame);
	return m;
}

static void chunk_key(uint8_t key[32], const uint8_t prk[32], const struct blob *m)
{
	struct blob rest = {0};
	uint8_t digest[32];

	hash(digest, m->data, m->size);
	put_le(&rest, 1, 4);
	put_le(&rest, m->size, 8);
	put(&rest, digest, 32);
	expand(key, prk, "cocoon/1 chunk key", &rest);
	free(rest.data);
}

/* Seal m into `to`; gives the table entry. */
static struct entry store(struct blob *to, const struct blob *m, const uint8_t key[32], uint32_t blob)
{
	struct entry e = {.offset = to->size, .size = (uint32_t)m->size + 16, .blob = blob};
	uint8_t *sealed = malloc(m->size + 16);

	must(sealed);
	seal_message(sealed, m->data, m->size, key);
	hash(e.id, sealed, m->size + 16);
	put(to, sealed, m->size + 16);
	free(sealed);
	return e;
}

static uint32_t find(const struct entry *e, uint32_t n, const uint8_t id[32])
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (memcmp(e[i].id, id, 32) == 0)
			break;
	return i;
}

static struct piece seal_piece(struct sealing *s, const uint8_t *plain, size_t n, uint32_t first_block,
			       bool meta, uint32_t blob)
{
	struct blob m = message(s->o, plain, n), *to = meta ? &s->meta_area : &s->out->blobs[blob];
	struct entry **list = meta ? &s->meta : &s->data, e;
	uint32_t *count = meta ? &s->n_meta : &s->n_data;
	struct piece p = {.first_block = first_block, .size = (uint32_t)n, .meta = meta};
	size_t before = to->size;

	chunk_key(p.key, meta ? s->prk_meta : s->prk_domain, &m);
	e = store(to, &m, p.key, blob);
	p.chunk = find(*list, *count, e.id);
	if (p.chunk == *count) {
		*list = grow(*list, *count, sizeof(e));
		(*list)[(*count)++] = e;
	} else {
		to->size = before; /* identical chunks stand once */
	}
	free(m.data);
	return p;
}

/* §6: 48 bytes. Data chunks are numbered behind all metadata chunks. */
static void put_extent(const struct sealing *s, struct blob *to, const struct piece *p)
{
	put_le(to, p->first_block, 4);
	put_le(to, p->chunk + (p->meta ? 0 : s->n_meta), 4);
	put_le(to, p->size, 4);
	put_le(to, 0, 4);
	put(to, p->key, 32);
}

static void seal_image(struct sealing *s, const uint8_t *image, size_t size)
{
	uint32_t cut = s->o->cut, n_blobs = s->out->n_blobs - 1;
	size_t meta_size = s->o->meta_size, data_size = size - meta_size, at = 0;

	while (at < size) {
		bool meta = at < meta_size;
		size_t end = meta ? meta_size : size, n = end - at < cut ? end - at : cut;
		uint32_t blob = meta ? n_blobs : (uint32_t)((at - meta_size) * n_blobs / data_size);

		s->pieces = grow(s->pieces, s->n_pieces, sizeof(*s->pieces));
		s->pieces[s->n_pieces++] = seal_piece(s, image + at, n, (uint32_t)(at / 4096), meta, blob);
		at += n;
	}
	if (s->o->unnamed)
		(void)seal_piece(s, (const uint8_t *)"named by nobody", 15, 0, false, 0);
	if (s->o->id_twice)
		memcpy(s->data[s->n_data - 1].id, s->data[s->n_data - 2].id, 32);
}

/* Map pages hold chunk numbers, and data chunks count from the number of metadata chunks on, which the pages
 * are part of: so that number is known before any page is sealed. None of these chunks is like another. */
static struct blob seal_root(struct sealing *s)
{
	uint32_t n_pages = (s->n_pieces + s->o->page_extents - 1) / s->o->page_extents;
	uint32_t first_data, n_startup = s->o->startup ? s->n_data : 0, sealed_before = s->n_meta;
	struct piece *pages = calloc(n_pages, sizeof(*pages)), config, startup = {0};
	struct blob root = {0}, list = {0};

	first_data = s->n_meta + n_pages + 1 + (n_startup > 0);
	for (uint32_t k = 0; k < n_pages; k++) {
		uint32_t first = k * s->o->page_extents, end = first + s->o->page_extents;
		struct blob page = {0};

		for (uint32_t i = first; i < end && i < s->n_pieces; i++) {
			struct sealing numbered = *s;

			numbered.n_meta = first_data;
			put_extent(&numbered, &page, &s->pieces[i]);
		}
		pages[k] = seal_piece(s, page.data, page.size, s->pieces[first].first_block, true,
				      s->out->n_blobs - 1);
		free(page.data);
	}
	config = seal_piece(s, (const uint8_t *)s->o->config, strlen(s->o->config), 0, true,
			    s->out->n_blobs - 1);
	for (uint32_t k = n_startup; k > 0; k--)
		put_le(&list,
		       k == n_startup && s->o->startup_first ? *s->o->startup_first : first_data + k - 1, 4);
	if (n_startup)
		startup = seal_piece(s, list.data, list.size, 0, true, s->out->n_blobs - 1);
	must(s->n_meta == first_data && sealed_before < s->n_meta);

	put(&root, "COCOONR1", 8);
	put_le(&root, n_pages, 4);
	put_le(&root, 1, 4);
	put_le(&root, n_startup > 0, 4);
	put_le(&root, 0, 4);
	put_le(&root, strlen(s->o->config), 8);
	put_le(&root, list.size, 8);
	for (uint32_t k = 0; k < n_pages; k++)
		put_extent(s, &root, &pages[k]);
	put_extent(s, &root, &config);
	if (n_startup)
		put_extent(s, &root, &startup);
	free(pages);
	free(list.data);
	return root;
}

static void put_entry(struct blob *to, const struct entry *e, uint64_t base)
{
	put(to, e->id, 32);
	put_le(to, base + e->offset, 8);
	put_le(to, e->size, 4);
	put_le(to, e->blob, 4);
	put_le(to, 0, 8);
	put_le(to, 0, 8);
}

static void pad_block(struct blob *b)
{
	while (b->size % 4096)
		put_le(b, 0, 1);
}

/* §5: digests of every block of `below`; the level is appended in front of nothing: the caller puts levels in
 * order. */
static struct blob tree_level(const struct blob *below, const uint8_t salt[32])
{
	struct blob level = {0};

	for (size_t at = 0; at < below->size; at += 4096) {
		uint8_t salted[32 + 4096], digest[32];

		memcpy(salted, salt, 32);
		memcpy(salted + 32, below->data + at, 4096);
		hash(digest, salted, sizeof(salted));
		put(&level, digest, 32);
	}
	return level;
}

/* Appends the tree over `table` to `index`, root level first; gives the root. */
static void put_tree(struct blob *index, const struct blob *table, const uint8_t salt[32], uint8_t root[32])
{
	struct blob levels[8] = {{0}};
	const struct blob *below = table;
	int n = 0;

	for (;;) {
		struct blob level = tree_level(below, salt);

		if (level.size == 32) {
			memcpy(root, level.data, 32);
			free(level.data);
			break;
		}
		pad_block(&level);
		levels[n] = level;
		below = &levels[n++];
	}
	while (n > 0) {
		put(index, levels[n - 1].data, levels[n - 1].size);
		free(levels[--n].data);
	}
}

static uint64_t blocks_of(uint64_t n, uint64_t each)
{
	return (n + each - 1) / each;
}

static uint64_t meta_offset(uint32_t n_chunks)
{
	uint64_t table = blocks_of(n_chunks, 64), total = table + 1, n = table;

	while (n > 1) {
		n = blocks_of(n, 128);
		total += n;
	}
	return total * 4096;
}

/* §3, root_hash left zero. */
static struct blob descriptor(struct sealing *s, size_t image_size, const uint8_t salt[32])
{
	uint8_t commitment[32], blobs[32];
	struct blob d = {0}, rest = {0}, digests = {0};

	put_le(&rest, 1, 4);
	expand(commitment, s->prk_image, "cocoon/1 commitment", &rest);
	for (uint32_t k = 0; k + 1 < s->out->n_blobs; k++) {
		uint8_t digest[32];

		hash(digest, s->out->blobs[k].data, s->out->blobs[k].size);
		put(&digests, digest, 32);
	}
	hash(blobs, digests.data, digests.size);
	put(&d, "COCOOND1", 8);
	put_le(&d, 1, 4);
	put_le(&d, 1, 4);
	put_le(&d, image_size, 8);
	put_le(&d, s->n_meta + s->n_data, 4);
	put_le(&d, s->out->n_blobs, 4);
	put_le(&d, s->o->max_chunk_size, 4);
	put_le(&d, s->n_meta, 4);
	put_le(&d, meta_offset(s->n_meta + s->n_data), 8);
	put(&d, salt, 32);
	for (int k = 0; k < 4; k++)
		put_le(&d, 0, 8);
	put(&d, commitment, 32);
	put(&d, blobs, 32);
	for (int k = 0; k < 10; k++)
		put_le(&d, 0, 8);
	must(d.size == 256);
	free(rest.data);
	free(digests.data);
	return d;
}

static void root_salt(const struct sealing *s, const struct blob *m, uint8_t salt[32])
{
	struct blob rest = {0};
	uint8_t digest[32];

	hash(digest, m->data, m->size);
	put(&rest, s->secrets.salt, 32);
	put(&rest, digest, 32);
	expand(salt, s->prk_image, "cocoon/1 salt", &rest);
	free(rest.data);
}

static void root_key(const struct sealing *s, const struct blob *d, uint8_t key[32])
{
	struct blob rest = {0};
	uint8_t digest[32];

	hash(digest, d->data, d->size);
	put_le(&rest, 1, 4);
	put(&rest, digest, 32);
	expand(key, s->prk_image, "cocoon/1 root chunk", &rest);
	free(rest.data);
}

static void put_superblock(struct blob *index, uint64_t n_table, const uint8_t salt[32])
{
	uint8_t block[4096] = {0}, uuid[32];
	struct blob b = {0};

	hash(uuid, salt, 32);
	put(&b, "verity\0\0", 8);
	put_le(&b, 1, 4);
	put_le(&b, 1, 4);
	put(&b, uuid, 16);
	put(&b, "sha256", 6);
	while (b.size < 64)
		put_le(&b, 0, 1);
	put_le(&b, 4096, 4);
	put_le(&b, 4096, 4);
	put_le(&b, n_table, 8);
	put_le(&b, 32, 2);
	put_le(&b, 0, 6);
	put(&b, salt, 32);
	memcpy(block, b.data, b.size);
	put(index, block, sizeof(block));
	free(b.data);
}

static void make_index(struct sealing *s, size_t image_size)
{
	struct blob root = seal_root(s), m = message(s->o, root.data, root.size), d, table = {0};
	struct blob *index = &s->out->blobs[s->out->n_blobs - 1];
	uint64_t base = meta_offset(s->n_meta + s->n_data);
	uint8_t salt[32], key[32], hash_root[32];

	must(root.size <= s->o->max_chunk_size);
	root_salt(s, &m, salt);
	d = descriptor(s, image_size, salt);
	root_key(s, &d, key);
	s->meta[0] = store(&s->meta_area, &m, key, s->out->n_blobs - 1);
	for (uint32_t k = 0; k < s->n_meta; k++)
		put_entry(&table, &s->meta[k], base);
	for (uint32_t k = 0; k < s->n_data; k++)
		put_entry(&table, &s->data[k], 0);
	pad_block(&table);
	put(index, table.data, table.size);
	put_superblock(index, table.size / 4096, salt);
	put_tree(index, &table, salt, hash_root);
	must(index->size == base);
	put(index, s->meta_area.data, s->meta_area.size);
	memcpy(d.data + 80, hash_root, 32);
	put(index, d.data, d.size);
	memcpy(s->out->descriptor, d.data, 256);
	s->out->n_chunks = s->n_meta + s->n_data;
	s->out->n_meta_chunks = s->n_meta;
	free(root.data);
	free(m.data);
	free(d.data);
	free(table.data);
}

static void put_text(struct blob *b, const char *text)
{
	put(b, text, strlen(text));
}

static void put_hex(struct blob *b, const uint8_t digest[32])
{
	char text[3];

	for (int i = 0; i < 32; i++) {
		must(snprintf(text, sizeof(text), "%02x", digest[i]) == 2);
		put_text(b, text);
	}
}

/* §2 */
static void make_manifest(struct sealed *out)
{
	struct blob json = {0};
	uint8_t identity[32];
	char text[64];

	put_text(&json,
		 "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		 "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:"
		 "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2},\"layers\":"
		 "[");
	for (uint32_t k = 0; k < out->n_blobs; k++) {
		bool last = k + 1 == out->n_blobs;
		uint8_t digest[32];

		put_text(&json, last ? "{\"mediaType\":\"application/"
				       "vnd.oci.image.layer.cocoon.index.v1\",\"digest\":\"sha256:"
				     : "{\"mediaType\":\"application/"
				       "vnd.oci.image.layer.cocoon.v1\",\"digest\":\"sha256:");
		hash(digest, out->blobs[k].data, out->blobs[k].size);
		put_hex(&json, digest);
		must(snprintf(text, sizeof(text), "\",\"size\":%zu%s", out->blobs[k].size, last ? "" : "},") >
		     0);
		put_text(&json, text);
	}
	hash(identity, out->descriptor, sizeof(out->descriptor));
	put_text(&json, ",\"annotations\":{\"dev.cocoon.descriptor\":\"sha256:");
	put_hex(&json, identity);
	put_text(&json, "\"}}]}");
	put_le(&json, 0, 1);
	out->manifest = (char *)json.data;
}

void seal(struct sealed *out, const uint8_t *image, size_t size, const struct seal_options *options)
{
	struct seal_options o = *options;
	struct sealing s = {.out = out, .o = &o};

	o.max_chunk_size = o.max_chunk_size ? o.max_chunk_size : 1 << 20;
	o.cut = o.cut ? o.cut : 64 << 10;
	o.meta_size = o.meta_size ? o.meta_size : 4096;
	o.page_extents = o.page_extents ? o.page_extents : 1000;
	o.config = o.config ? o.config : "{}";
	*out = (struct sealed){.n_blobs = (o.n_data_blobs ? o.n_data_blobs : 1) + 1};
	must(size % 4096 == 0 && o.meta_size < size && o.n_data_blobs < 127);
	if (o.secrets)
		s.secrets = *o.secrets;
	else
		must(RAND_bytes((uint8_t *)&s.secrets, sizeof(s.secrets)) == 1);
	memcpy(out->image_key, s.secrets.image_key, 32);
	extract(s.prk_domain, "cocoon/1 domain", s.secrets.domain);
	extract(s.prk_meta, "cocoon/1 meta", s.secrets.meta);
	extract(s.prk_image, "cocoon/1 image", out->image_key);
	s.meta = calloc(1, sizeof(*s.meta)); /* the root's place */
	s.n_meta = 1;
	must(s.meta);
	seal_image(&s, image, size);
	make_index(&s, size);
	make_manifest(out);
	free(s.meta);
	free(s.data);
	free(s.pieces);
	free(s.meta_area.data);
}

void seal_free(struct sealed *s)
{
	for (uint32_t k = 0; k < s->n_blobs; k++)
		free(s->blobs[k].data);
	free(s->manifest);
	*s = (struct sealed){0};
}
