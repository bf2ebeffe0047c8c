/* SPDX-License-Identifier: Apache-2.0
 * What is larger than a chunk: blobs, parts of the index, the descriptor, the manifest's layers; and other
 * images instead of this one. */
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- blobs */

static uint32_t some_blob(struct scene *s)
{
	return (uint32_t)random_below(&s->random, s->store.image->n_blobs);
}

static void lay_blob(struct scene *s, uint32_t blob, const struct blob *from)
{
	uint64_t n = s->store.image->blobs[blob].size;

	store_edit(&s->store, blob, 0, NULL, n);
	store_edit(&s->store, blob, 0, from->data, from->size < n ? from->size : n);
	scene_focus(s, scene_chunk(s));
}

static void swap_blobs(struct scene *s)
{
	uint32_t a = some_blob(s), b = some_blob(s);

	lay_blob(s, a, &s->store.image->blobs[b]);
	lay_blob(s, b, &s->store.image->blobs[a]);
}

static void replay_blob(struct scene *s)
{
	const struct sealed *donor = scene_donor(s);
	uint32_t a = some_blob(s);

	lay_blob(s, a, &donor->blobs[a < donor->n_blobs ? a : donor->n_blobs - 1]);
}

static void truncate_blob(struct scene *s)
{
	uint32_t a = some_blob(s);

	s->store.sizes[a] = random_below(&s->random, s->store.sizes[a] + 1);
}

static void extend_blob(struct scene *s)
{
	s->store.sizes[some_blob(s)] += 1 + random_below(&s->random, 1 << 20);
}

/* Everything behind some byte comes earlier or later. */
static void shift_blob(struct scene *s)
{
	uint32_t blob = some_blob(s);
	const struct blob *b = &s->store.image->blobs[blob];
	uint64_t at = random_below(&s->random, b->size), left = b->size - at, by;
	static const uint64_t steps[] = {1, 16, 32, 64, 4096};

	by = steps[random_below(&s->random, 5)];
	if (by >= left)
		return;
	if (random_one_in(&s->random, 2))
		store_edit(&s->store, blob, at, b->data + at + by, left - by);
	else
		store_edit(&s->store, blob, at + by, b->data + at, left - by);
}

/* A stretch of some blob of some image stands in another place too. */
static void duplicate_stretch(struct scene *s)
{
	uint32_t to = some_blob(s);
	const struct sealed *donor = scene_donor(s);
	const struct blob *from = &donor->blobs[random_below(&s->random, donor->n_blobs)];
	uint64_t n = 1 + random_below(&s->random, from->size < 65536 ? from->size : 65536);
	uint64_t step = random_one_in(&s->random, 2) ? 64 : 1;

	store_edit(&s->store, to, random_below(&s->random, s->store.image->blobs[to].size) / step * step,
		   from->data + random_below(&s->random, from->size - n + 1) / step * step, n);
}

static void zero_stretch(struct scene *s)
{
	uint32_t blob = some_blob(s);
	uint64_t size = s->store.image->blobs[blob].size, at = random_below(&s->random, size);

	store_edit(&s->store, blob, at, NULL, 1 + random_below(&s->random, size - at));
}

static void flip_bits(struct scene *s)
{
	for (uint64_t n = 1 + random_below(&s->random, 8); n > 0; n--) {
		uint32_t blob = some_blob(s);
		const struct blob *b = &s->store.image->blobs[blob];
		uint64_t at = random_below(&s->random, b->size);
		uint8_t byte = b->data[at] ^ (uint8_t)(1u << random_below(&s->random, 8));

		store_write(&s->store, blob, at, &byte, 1);
	}
}

/* --- the index's parts */

static void replay_index_part(struct scene *s)
{
	const struct sealed *donor = scene_donor(s);
	const struct blob *from = &donor->blobs[donor->n_blobs - 1],
			  *to = &s->store.image->blobs[store_index(&s->store)];
	uint64_t table = chunk_table_size(s->store.image->n_chunks),
		 meta = meta_offset_of(s->store.image->n_chunks);
	uint64_t donors_table = chunk_table_size(donor->n_chunks),
		 donors_meta = meta_offset_of(donor->n_chunks);
	uint64_t starts[] = {0, table, meta, to->size - DESCRIPTOR_SIZE, to->size};
	uint64_t donors[] = {0, donors_table, donors_meta, from->size - DESCRIPTOR_SIZE, from->size};
	size_t part = random_below(&s->random, 4);
	uint64_t n = starts[part + 1] - starts[part], m = donors[part + 1] - donors[part];

	store_edit(&s->store, store_index(&s->store), starts[part], from->data + donors[part], n < m ? n : m);
	scene_focus(s, scene_chunk(s));
}

/* --- descriptor */

static void change_descriptor(struct scene *s)
{
	static const struct {
		uint8_t at, n;
	} fields[] = {{8, 4},  {12, 4}, {16, 8}, {24, 4},  {28, 4},  {32, 4},  {36, 4},
		      {40, 8}, {48, 8}, {80, 8}, {112, 8}, {144, 8}, {176, 8}, {248, 8}};
	size_t k = random_below(&s->random, sizeof(fields) / sizeof(fields[0]));

	scene_change_number(s, s->store.descriptor + fields[k].at, fields[k].n);
	s->identity = true;
}

static void splice_descriptor(struct scene *s)
{
	const struct sealed *donor = scene_donor(s);
	size_t at = random_below(&s->random, DESCRIPTOR_SIZE / 16) * 16;
	size_t n = random_one_in(&s->random, 2) ? 16 + at % 32 : DESCRIPTOR_SIZE - at;

	if (n > DESCRIPTOR_SIZE - at)
		n = DESCRIPTOR_SIZE - at;
	memcpy(s->store.descriptor + at, donor->descriptor + at, n);
	s->identity = true;
}

/* --- manifest */

static void set_manifest(struct scene *s, const char *text, size_t n)
{
	struct buf *m = &s->store.manifest;

	m->size = 0;
	buf_put(m, text, n);
	s->identity = true;
}

#define LAYER "{\"mediaType\":\"application/vnd.oci.image.layer"
#define TEXT_MAX 16384u

/* The layers of a manifest, as texts. */
struct layers {
	size_t head; /* bytes in front of the first */
	size_t n;
	const char *text[MAX_BLOBS];
	size_t size[MAX_BLOBS];
};

/* Bytes of the JSON object that begins at `text`: no string of ours has a brace. */
static size_t object_size(const char *text)
{
	size_t n = 0;
	int depth = 0;

	do {
		depth += (text[n] == '{') - (text[n] == '}');
		n++;
	} while (depth > 0);
	return n;
}

static void find_layers(const char *manifest, struct layers *out)
{
	const char *at = strstr(manifest, LAYER);

	out->n = 0;
	out->head = (size_t)(at - manifest);
	for (; at && out->n < MAX_BLOBS; at = strstr(at + 1, LAYER)) {
		out->text[out->n] = at;
		out->size[out->n++] = object_size(at);
	}
}

static void put_layers(struct scene *s, const char *manifest, const struct layers *l)
{
	char text[TEXT_MAX];
	size_t n = l->head;

	memcpy(text, manifest, n);
	for (size_t k = 0; k < l->n && n + l->size[k] + 10 < sizeof(text); k++) {
		memcpy(text + n, l->text[k], l->size[k]);
		n += l->size[k];
		text[n++] = k + 1 < l->n ? ',' : ']';
	}
	text[n++] = '}';
	set_manifest(s, text, n);
}

/* Layers in another order, one dropped, one twice, one of another image. */
static void change_layers(struct scene *s)
{
	const char *manifest = s->store.image->manifest;
	const struct sealed *donor = scene_donor(s);
	struct layers l, from;
	size_t a, b;

	find_layers(manifest, &l);
	find_layers(donor->manifest, &from);
	a = random_below(&s->random, l.n);
	b = random_below(&s->random, l.n);
	switch (random_below(&s->random, 4)) {
	case 0:
		l.text[a] = l.text[b];
		l.size[a] = l.size[b];
		break;
	case 1:
		l.n--;
		l.text[a] = l.text[l.n];
		l.size[a] = l.size[l.n];
		break;
	case 2:
		b = random_below(&s->random, from.n);
		l.text[a] = from.text[b];
		l.size[a] = from.size[b];
		break;
	default: {
		const char *text = l.text[a];
		size_t size = l.size[a];

		l.text[a] = l.text[b];
		l.size[a] = l.size[b];
		l.text[b] = text;
		l.size[b] = size;
	}
	}
	put_layers(s, manifest, &l);
}

/* A layer's size or digest says something else: one digit. */
static void change_a_digit(struct scene *s)
{
	static const char digits[] = "0123456789abcdef";
	const char *text = s->store.image->manifest;
	char copy[TEXT_MAX];
	size_t n = strlen(text), at;
	struct layers l;

	if (n > sizeof(copy))
		return;
	find_layers(text, &l);
	at = random_below(&s->random, l.n);
	at = (size_t)(l.text[at] - text) + random_below(&s->random, l.size[at]);
	memcpy(copy, text, n);
	while (at < n && !strchr(digits, copy[at]))
		at++;
	if (at < n)
		copy[at] = digits[random_below(&s->random, random_one_in(&s->random, 2) ? 10 : 16)];
	set_manifest(s, copy, n);
}

static void cut_manifest(struct scene *s)
{
	const char *text = s->store.image->manifest;

	set_manifest(s, text, 1 + random_below(&s->random, strlen(text)));
}

static void replay_manifest(struct scene *s)
{
	const struct sealed *donor = scene_donor(s);

	set_manifest(s, donor->manifest, strlen(donor->manifest));
}

/* --- other images */

/* The host has another image under this name, and perhaps not quite all of it. */
static void replay_image(struct scene *s)
{
	const struct sealed *donor = scene_donor(s);

	if (s->store.n_edits > 0 || s->store.n_aliases > 0)
		return; /* what was done so far was done to the first one */
	store_reset(&s->store, donor);
	s->identity = true;
	if (random_one_in(&s->random, 2))
		return;
	if (random_one_in(&s->random, 2))
		memcpy(s->store.descriptor, s->cast->now.sealed.descriptor, DESCRIPTOR_SIZE);
	else
		set_manifest(s, s->cast->now.sealed.manifest, strlen(s->cast->now.sealed.manifest));
}

const struct mutation image_mutations[] = {
	{"two blobs swapped", swap_blobs},
	{"a blob replayed", replay_blob},
	{"a blob truncated", truncate_blob},
	{"a blob extended", extend_blob},
	{"a blob shifted", shift_blob},
	{"a stretch duplicated", duplicate_stretch},
	{"a stretch of zeros", zero_stretch},
	{"bits flipped", flip_bits},
	{"a part of the index replayed", replay_index_part},
	{"a field of the descriptor changed", change_descriptor},
	{"descriptors spliced", splice_descriptor},
	{"layers changed", change_layers},
	{"a digit of the manifest changed", change_a_digit},
	{"the manifest cut", cut_manifest},
	{"the manifest replayed", replay_manifest},
	{"the image replayed", replay_image},
};
const size_t n_image_mutations = sizeof(image_mutations) / sizeof(image_mutations[0]);
