/* SPDX-License-Identifier: Apache-2.0
 * Nothing is copied that is not read: a read takes the published bytes and lays the edits over them. */
#include "store.h"

#include <errno.h>
#include <string.h>

void store_init(struct store *s)
{
	*s = (struct store){0};
	buf_init(&s->manifest, MAX_MANIFEST_SIZE);
}

void store_deinit(struct store *s)
{
	buf_deinit(&s->manifest);
}

void store_reset(struct store *s, const struct sealed *image)
{
	s->image = image;
	s->manifest.size = 0;
	buf_put(&s->manifest, image->manifest, strlen(image->manifest));
	memcpy(s->descriptor, image->descriptor, DESCRIPTOR_SIZE);
	for (uint32_t k = 0; k < image->n_blobs; k++)
		s->sizes[k] = image->blobs[k].size;
	s->n_edits = s->n_aliases = s->n_own = 0;
}

void store_edit(struct store *s, uint32_t blob, uint64_t at, const uint8_t *from, uint64_t n)
{
	if (s->n_edits < STORE_EDITS)
		s->edits[s->n_edits++] = (struct edit){blob, at, n, from};
}

void store_write(struct store *s, uint32_t blob, uint64_t at, const void *p, size_t n)
{
	if (n > sizeof(s->own) - s->n_own)
		return;
	memcpy(s->own + s->n_own, p, n);
	store_edit(s, blob, at, s->own + s->n_own, n);
	s->n_own += n;
}

void store_alias(struct store *s, uint32_t asked, uint32_t given, int error)
{
	if (s->n_aliases < STORE_ALIASES)
		s->aliases[s->n_aliases++] = (struct alias){asked, given, error};
}

static void lay_over(const struct edit *x, uint64_t at, uint8_t *to, size_t n)
{
	uint64_t from = x->at > at ? x->at : at, end = x->at + x->n < at + n ? x->at + x->n : at + n;

	if (from >= end)
		return;
	if (x->from)
		memcpy(to + (from - at), x->from + (from - x->at), (size_t)(end - from));
	else
		memset(to + (from - at), 0, (size_t)(end - from));
}

int store_read(const struct store *s, uint32_t blob, uint64_t at, uint8_t *to, size_t n)
{
	const struct blob *b = &s->image->blobs[blob];
	size_t there = 0;

	if (at > s->sizes[blob] || n > s->sizes[blob] - at)
		return -EIO;
	if (at < b->size)
		there = n < b->size - at ? n : (size_t)(b->size - at);
	memcpy(to, b->data + (there ? at : 0), there);
	memset(to + there, 0, n - there);
	for (size_t k = 0; k < s->n_edits; k++)
		if (s->edits[k].blob == blob)
			lay_over(&s->edits[k], at, to, n);
	return 0;
}

static const struct alias *find_alias(const struct store *s, uint32_t number)
{
	for (size_t k = 0; k < s->n_aliases; k++)
		if (s->aliases[k].asked == number)
			return &s->aliases[k];
	return NULL;
}

int store_chunk(const struct store *s, uint32_t number, uint8_t *to, size_t *n)
{
	const struct alias *a = find_alias(s, number);
	uint8_t entry[64];
	uint32_t blob;
	int r;

	if (a && a->error)
		return a->error;
	if (a)
		number = a->given;
	if (number >= s->image->n_chunks)
		return -ENOENT;
	r = store_read(s, store_index(s), (uint64_t)number * sizeof(entry), entry, sizeof(entry));
	blob = get_le32(entry + 44);
	*n = get_le32(entry + 40);
	if (r < 0 || blob >= s->image->n_blobs || *n > MAX_STORED_SIZE)
		return -EIO;
	return store_read(s, blob, get_le64(entry + 32), to, *n);
}

static const struct store *store_of(struct source *source)
{
	return ((struct source_store *)source)->store;
}

static int source_open(struct source *source, struct buf *manifest,
		       uint8_t descriptor[static DESCRIPTOR_SIZE], struct err *e)
{
	const struct store *s = store_of(source);

	(void)e;
	buf_put(manifest, s->manifest.data, s->manifest.size);
	memcpy(descriptor, s->descriptor, DESCRIPTOR_SIZE);
	return 0;
}

static int source_read_index(struct source *source, void *to, size_t n, uint64_t offset, struct err *e)
{
	const struct store *s = store_of(source);

	(void)e;
	return store_read(s, store_index(s), offset, to, n);
}

/* The bytes where the guest's own, checked entry says; an alias's are cut or filled up to the length that the
 * contract of a source demands. */
static int read_place(struct source_store *s, const struct chunk_place *p)
{
	const struct alias *a = find_alias(s->store, p->number);
	size_t n = 0;
	int r;

	if (!a)
		return store_read(s->store, p->entry.blob, p->entry.offset, s->stored, p->entry.stored_size);
	r = store_chunk(s->store, p->number, s->stored, &n);
	if (r == 0 && n < p->entry.stored_size)
		memset(s->stored + n, 0, p->entry.stored_size - n);
	return r;
}

static int source_read_chunks(struct source *source, const struct chunk_place *places, size_t n, bool ahead,
			      chunk_arrival *arrival, void *arg, struct err *e)
{
	struct source_store *s = (struct source_store *)source;

	(void)ahead;
	(void)e;
	for (size_t k = n; k-- > 0;) {
		int r = read_place(s, &places[k]);

		arrival(arg, k, r < 0 ? NULL : s->stored, r);
	}
	return 0;
}

static void source_close(struct source *source)
{
	(void)source; /* the caller's storage */
}

static const struct source_ops ops = {
	.open = source_open,
	.read_index = source_read_index,
	.read_chunks = source_read_chunks,
	.close = source_close,
};

void source_store_init(struct source_store *s, const struct store *store)
{
	s->source.ops = &ops;
	s->store = store;
}
