/* SPDX-License-Identifier: Apache-2.0
 * Bits flipped at rest: each stays flipped however often it is asked for, and only what covers it is read
 * again, with nothing cached. */
#include "crypto/sha256.h"
#include "flip.h"
#include "guestfs/key_spec.h"
#include "judge.h"
#include "source_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int give_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	const struct specimen *s = arg;

	(void)manifest;
	(void)descriptor;
	(void)digest;
	(void)e;
	memcpy(key->bytes, s->sealed.image_key, SECRET_SIZE);
	return 0;
}

struct image_options flip_options(const struct specimen *s)
{
	union {
		const struct specimen *in;
		void *out;
	} arg = {s};

	/* a cache of one byte keeps nothing */
	return (struct image_options){.cache_bytes = 1, .find_key = give_key, .find_key_arg = arg.out};
}

/* The bit that is flipped, on every delivery; and what was asked for, when nothing is. */
struct rest {
	struct bench *b;
	struct source_memory source;
	struct image_options options;
	struct err words;    /* of the last opening */
	struct image *image; /* open, where opening is not what is tried */
	uint64_t address;    /* of what is read there */
	bool armed;
	enum where where;
	uint32_t chunk;
	uint64_t at;
	uint8_t mask;
	uint64_t hits;
	size_t n_seen;
	uint32_t seen[64]; /* chunks, in the order in which they were asked for */
};

static int strike(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	struct rest *f = arg;
	uint64_t from = where == IN_INDEX ? offset : 0;

	if (where == IN_CHUNK && f->n_seen < 64)
		f->seen[f->n_seen++] = (uint32_t)offset;
	if (!f->armed || where != f->where || (where == IN_CHUNK && offset != f->chunk) || f->at < from ||
	    f->at - from >= n)
		return 0;
	p[f->at - from] ^= f->mask;
	f->hits++;
	return 0;
}

static void rest_init(struct rest *f, struct bench *b)
{
	*f = (struct rest){.b = b, .options = flip_options(b->specimen)};
	source_memory_init(&f->source, &b->specimen->sealed);
	f->source.tamper = strike;
	f->source.arg = f;
}

static void must_open(struct rest *f)
{
	struct err e = {""};

	if (image_open(&f->image, &f->source.source, &f->options, &e) < 0) {
		printf("the image does not open: %s\n", e.text);
		exit(1);
	}
}

static void drop_image(struct rest *f)
{
	image_close(f->image);
	f->image = NULL;
}

/* What is tried with each flip. 0: everything is as it should be. */
typedef int probe(struct rest *f);

static int try_open(struct rest *f)
{
	int r = image_open(&f->image, &f->source.source, &f->options, &f->words);

	if (r < 0)
		return r;
	r = judge_all(f->image, f->b->specimen);
	drop_image(f);
	return r;
}

/* An eighth of the image with each bit of a byte: for what is thrown away before anything is read. */
static int try_open_and_sample(struct rest *f)
{
	uint64_t part = f->b->specimen->size / CUT / 8 * CUT;
	int r = image_open(&f->image, &f->source.source, &f->options, &f->words);

	if (r < 0)
		return r;
	r = judge_config(f->image, f->b->specimen);
	for (uint64_t at = part * (uint64_t)__builtin_ctz(f->mask), end = at + part; r == 0 && at < end;
	     at += CUT)
		r = judge_read(f->image, f->b->specimen, at, CUT);
	drop_image(f);
	return r;
}

static int try_read(struct rest *f)
{
	return judge_read(f->image, f->b->specimen, f->address, CUT);
}

static int try_config(struct rest *f)
{
	return judge_config(f->image, f->b->specimen);
}

static int try_verify(struct rest *f)
{
	return image_verify(f->image, NULL, NULL, NULL);
}

static int try_names(struct rest *f)
{
	return judge_tree(f->image, f->b->specimen);
}

static void must_be_well(struct rest *f, probe *try)
{
	int r;

	f->armed = false;
	r = try(f);
	if (r != 0) {
		printf("MISS: an honest host is not believed any more: %d %s\n", r,
		       r == WRONG ? judge_words : f->words.text);
		f->b->tally->kinds[DATA_CHUNK].missed++;
	}
}

static void flip_bit(struct rest *f, enum kind kind, uint64_t at, unsigned int bit, probe *try,
		     const char *reason)
{
	struct outcome o = {.reason = reason};

	f->armed = true;
	f->at = at;
	f->mask = (uint8_t)(1u << bit);
	f->hits = 0;
	o.result = try(f);
	o.delivered = f->hits > 0;
	flip_record(f->b, kind, at, bit, &o);
}

/* All bits of bytes [at, at + n) of what `f` aims at. `heals`: an honest answer in between changes nothing.
 */
static void flip_bytes(struct rest *f, enum kind kind, uint64_t at, size_t n, probe *try, bool heals,
		       const char *reason)
{
	for (uint64_t byte = at; byte < at + n; byte++) {
		if (!flip_is_mine(f->b, byte))
			continue;
		for (unsigned int bit = 0; bit < 8; bit++)
			flip_bit(f, kind, byte, bit, try, reason);
		if (heals)
			must_be_well(f, try);
	}
	f->armed = false;
}

/* --- manifest and descriptor */

static bool inside(const char *manifest, uint64_t at, const char *from, const char *to)
{
	const char *start = strstr(manifest, from), *end = start ? strstr(start, to) : NULL;

	return end && at >= (uint64_t)(start - manifest) && at < (uint64_t)(end - manifest);
}

/* Is byte `at` in what some member of that name has for a value: a number, or a string? */
static bool in_value(const char *m, uint64_t at, const char *member)
{
	const char *v = m, *end;

	while ((v = strstr(v, member))) {
		v += strlen(member);
		end = v + (*v == '"') + strcspn(v + (*v == '"'), "\"},");
		if (at >= (uint64_t)(v - m) && at < (uint64_t)(end - m))
			return true;
	}
	return false;
}

/* Where in the manifest a flip may do nothing. */
static const char *manifest_reason(const char *m, uint64_t at)
{
	bool index = at >= (uint64_t)(strstr(m, "layer.cocoon.index") - m);

	if (inside(m, at, "\"config\":", "\"layers\""))
		return "manifest by tag: the config's descriptor, which a guest does not read";
	if (inside(m, at, "\"dev.cocoon.descriptor\"", "\"org.opencontainers"))
		return "manifest by tag: the identity as information only; a reader computes it";
	if (inside(m, at, "\"org.opencontainers", "]}"))
		return "manifest by tag: the wrapped key, where it unwraps to the same or the key is a file";
	if (inside(m, at, "\"annotations\"", "\"dev.cocoon"))
		return "manifest by tag: the annotations' name, where the key is a file";
	if (inside(m, at, "\"mediaType\"", "\"config\""))
		return "manifest by tag: the name of the document's own mediaType, which may be missing";
	if (in_value(m, at, "\"size\":"))
		return "manifest by tag: a blob's size that still covers its chunks";
	if (index && in_value(m, at, "\"digest\":"))
		return "manifest by tag: the index's digest; the descriptor vouches for its parts";
	return NULL;
}

static void flip_manifest(struct bench *b, enum kind kind, const struct image_options *options)
{
	const char *text = b->specimen->sealed.manifest;
	bool by_tag =
		kind == MANIFEST_BY_TAG || kind == MANIFEST_WITH_RECIPIENT || kind == MANIFEST_BY_IDENTITY;
	struct rest f;

	rest_init(&f, b);
	f.options = *options;
	f.where = IN_MANIFEST;
	for (size_t at = 0; at < strlen(text); at++)
		flip_bytes(&f, kind, at, 1, try_open, false, by_tag ? manifest_reason(text, at) : NULL);
	must_be_well(&f, try_open);
}

static void flip_descriptor(struct bench *b, enum kind kind, const struct image_options *options)
{
	struct rest f;

	rest_init(&f, b);
	f.options = *options;
	f.where = IN_DESCRIPTOR;
	flip_bytes(&f, kind, 0, DESCRIPTOR_SIZE, try_open, false, NULL);
	must_be_well(&f, try_open);
}

static void flip_identity(struct bench *b)
{
	struct digest manifest, descriptor;
	struct key_specs keys = {0};
	struct image_options o = flip_options(b->specimen), recipient = o;

	if (sha256(&manifest, b->specimen->sealed.manifest, strlen(b->specimen->sealed.manifest)) < 0 ||
	    sha256(&descriptor, b->specimen->sealed.descriptor, DESCRIPTOR_SIZE) < 0 ||
	    key_specs_add(&keys, b->recipient, NULL) < 0)
		exit(1);
	key_specs_load(&keys);
	flip_manifest(b, MANIFEST_BY_TAG, &o);
	flip_descriptor(b, DESCRIPTOR, &o);
	recipient.find_key = key_specs_find;
	recipient.find_key_arg = &keys;
	flip_manifest(b, MANIFEST_WITH_RECIPIENT, &recipient);
	o.want_descriptor = &descriptor;
	flip_manifest(b, MANIFEST_BY_IDENTITY, &o);
	flip_descriptor(b, DESCRIPTOR_BY_DIGEST, &o);
	o.want_descriptor = NULL;
	o.want_manifest = &manifest;
	flip_manifest(b, MANIFEST_BY_DIGEST, &o);
	key_specs_wipe(&keys);
}

/* --- the public part of the index */

static uint64_t table_blocks(const struct bench *b)
{
	return chunk_table_size(b->specimen->sealed.n_chunks) / BLOCK_SIZE;
}

/* Block 0 has the root's entry: nothing opens without it. A later block is fetched again as long as it is
 * wrong: the image is opened while it is. */
static void flip_table(struct bench *b, const struct place *images, size_t n)
{
	for (uint64_t block = 0; block < table_blocks(b); block++) {
		const struct place *p = NULL;
		struct rest f;

		rest_init(&f, b);
		f.where = IN_INDEX;
		for (size_t k = 0; k < n; k++)
			if (images[k].number / 64 == block)
				p = &images[k];
		if (block > 0 && p) {
			f.armed = true;
			f.at = block * BLOCK_SIZE;
			f.mask = 1;
			f.address = p->address;
			must_open(&f);
			flip_bytes(&f, TABLE, block * BLOCK_SIZE, BLOCK_SIZE, try_read, false, NULL);
			must_be_well(&f, try_read);
			drop_image(&f);
		} else {
			flip_bytes(&f, TABLE, block * BLOCK_SIZE, BLOCK_SIZE, try_open, false, NULL);
			must_be_well(&f, try_open);
		}
	}
}

static void flip_tree(struct bench *b)
{
	uint64_t superblock = table_blocks(b) * BLOCK_SIZE,
		 end = meta_offset_of(b->specimen->sealed.n_chunks);
	struct rest f;

	rest_init(&f, b);
	f.where = IN_INDEX;
	flip_bytes(&f, SUPERBLOCK, superblock, BLOCK_SIZE, try_open_and_sample, false, SUPERBLOCK_REASON);
	/* the top of the tree stands over the root's entry */
	flip_bytes(&f, TREE, superblock + BLOCK_SIZE, (size_t)(end - superblock - BLOCK_SIZE), try_open,
		   false, NULL);
	must_be_well(&f, try_open);
}

/* --- chunks */

/* What an honest image asks for says what each chunk is. */
void flip_discover(struct bench *b, struct chunks *c)
{
	uint32_t n = b->specimen->sealed.n_chunks;
	struct rest f;

	*c = (struct chunks){.images = calloc(n, sizeof(struct place)),
			     .pages = calloc(n, sizeof(struct place)),
			     .known = calloc(n, 1)};
	rest_init(&f, b);
	must_open(&f);
	c->known[0] = 1;
	for (f.address = 0; f.address < b->specimen->size; f.address += CUT) {
		f.n_seen = 0;
		must_be_well(&f, try_read);
		for (size_t k = 0; k + 1 < f.n_seen; k++) {
			c->pages[c->n_pages++] = (struct place){f.seen[k], f.address};
			c->known[f.seen[k]] = 1;
		}
		if (c->known[f.seen[f.n_seen - 1]]++ == 0)
			c->images[c->n_images++] = (struct place){f.seen[f.n_seen - 1], f.address};
	}
	f.n_seen = 0;
	must_be_well(&f, try_config);
	for (size_t k = 0; k < f.n_seen && k < 4; k++)
		c->known[c->config[c->n_config++] = f.seen[k]] = 1;
	for (uint32_t k = 0; k < n && c->n_startup < 4; k++)
		if (!c->known[k]++)
			c->startup[c->n_startup++] = k;
	drop_image(&f);
}

void chunks_deinit(struct chunks *c)
{
	free(c->images);
	free(c->pages);
	free(c->known);
}

static size_t stored_size(const struct bench *b, uint32_t chunk)
{
	const struct sealed *s = &b->specimen->sealed;

	return get_le32(s->blobs[s->n_blobs - 1].data + (size_t)chunk * 64 + 40);
}

static void flip_chunk(struct rest *f, enum kind kind, uint32_t number, probe *try, bool heals)
{
	f->where = IN_CHUNK;
	f->chunk = number;
	flip_bytes(f, kind, 0, stored_size(f->b, number), try, heals, NULL);
	must_be_well(f, try);
}

static void flip_chunks(struct bench *b, const struct chunks *c)
{
	struct rest f;

	rest_init(&f, b);
	flip_chunk(&f, ROOT_CHUNK, 0, try_open, false);
	for (size_t k = 0; k < c->n_pages; k++) {
		must_open(&f); /* a page that was read is kept */
		f.address = c->pages[k].address;
		flip_chunk(&f, MAP_CHUNK, c->pages[k].number, try_read, false);
		drop_image(&f);
	}
	must_open(&f);
	for (size_t k = 0; k < c->n_config; k++)
		flip_chunk(&f, CONFIG_CHUNK, c->config[k], try_config, true);
	for (size_t k = 0; k < c->n_startup; k++)
		flip_chunk(&f, STARTUP_CHUNK, c->startup[k], try_verify, false);
	for (size_t k = 0; k < c->n_images; k++) {
		f.address = c->images[k].address;
		flip_chunk(&f, f.address < b->specimen->meta_size ? METADATA_CHUNK : DATA_CHUNK,
			   c->images[k].number, try_read, true);
	}
	drop_image(&f);
}

/* The reader of the filesystem makes of a chunk that cannot be opened a failure and nothing else. */
static void flip_names(struct bench *b, const struct chunks *c)
{
	struct rest f;

	rest_init(&f, b);
	f.options.cache_bytes = 8 << 20;
	f.where = IN_CHUNK;
	for (size_t k = 0; k < c->n_images; k++) {
		if (!flip_is_mine(b, k))
			continue;
		f.chunk = c->images[k].number;
		must_open(&f);
		flip_bit(&f, NAMES, k * 37 % stored_size(b, f.chunk), k % 8, try_names, NULL);
		must_be_well(&f, try_names);
		drop_image(&f);
	}
}

/* Every stored byte is in one of the regions above. */
bool flip_covers_everything(struct bench *b, const struct chunks *c)
{
	const struct sealed *s = &b->specimen->sealed;
	uint64_t have = 0, covered = meta_offset_of(s->n_chunks) + DESCRIPTOR_SIZE;
	size_t n = 1 + c->n_pages + c->n_config + c->n_startup + c->n_images;

	for (uint32_t k = 0; k < s->n_blobs; k++)
		have += s->blobs[k].size;
	for (uint32_t k = 0; k < s->n_chunks; k++)
		covered += stored_size(b, k);
	printf("%llu bytes stored in %u blobs, %u chunks of which %u are metadata, manifest of %zu bytes\n",
	       (unsigned long long)have, s->n_blobs, s->n_chunks, s->n_meta_chunks, strlen(s->manifest));
	return have == covered && have >= LEAST_STORED && n == s->n_chunks;
}

void flip_at_rest(struct bench *b, const struct chunks *c)
{
	flip_chunks(b, c);
	flip_table(b, c->images, c->n_images);
	flip_tree(b);
	flip_identity(b);
	flip_names(b, c);
}
