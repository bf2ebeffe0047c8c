/* SPDX-License-Identifier: Apache-2.0
 * The blocks of a tar in their order: extensions first (long names, PAX records), then the header they belong
 * to, then, for a sparse file, its map, then data. */
#include "publisher/tar_reader.h"

#include "proto/base/cleanup.h"
#include "publisher/tar_header.h"
#include "publisher/tar_sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tar_reader {
	tar_pull_fn *pull;
	void *arg;
	/* What extensions tell of the entry; empty when they do not. */
	struct buf pax, path, link, gnu_path, gnu_link;
	struct tar_header header;
	struct tar_map map;
	uint64_t stored; /* bytes of the entry's data that were not pulled yet */
	unsigned padding;
	bool ended;
	uint8_t scratch[64 << 10];
};

int tar_reader_new(struct tar_reader **out, tar_pull_fn *pull, void *arg)
{
	struct tar_reader *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->pull = pull;
	t->arg = arg;
	buf_init(&t->path, TAR_MAX_EXTENSION + 1);
	buf_init(&t->link, TAR_MAX_EXTENSION + 1);
	buf_init(&t->gnu_path, TAR_MAX_EXTENSION + 1);
	buf_init(&t->gnu_link, TAR_MAX_EXTENSION + 1);
	buf_init(&t->pax, TAR_MAX_EXTENSION);
	*out = t;
	return 0;
}

void tar_reader_free(struct tar_reader *t)
{
	if (!t)
		return;
	buf_deinit(&t->path);
	buf_deinit(&t->link);
	buf_deinit(&t->gnu_path);
	buf_deinit(&t->gnu_link);
	buf_deinit(&t->pax);
	tar_map_deinit(&t->map);
	free(t);
}

/* Exactly n bytes. */
static int pull_all(struct tar_reader *t, void *to, size_t n, struct err *e)
{
	size_t got;
	int r = t->pull(t->arg, to, n, &got, e);

	if (r < 0)
		return r;
	return got == n ? 0 : err_set(e, -EUCLEAN, "the tar ends in the middle of an entry");
}

static int skip(struct tar_reader *t, uint64_t n, struct err *e)
{
	while (n) {
		size_t piece = n < sizeof(t->scratch) ? (size_t)n : sizeof(t->scratch);
		int r = pull_all(t, t->scratch, piece, e);

		if (r < 0)
			return r;
		n -= piece;
	}
	return 0;
}

static unsigned padding_of(uint64_t size)
{
	return (unsigned)(-size & (TAR_BLOCK - 1));
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

/* Behind the end mark there may be more zeroes, as much as the writer's record size asks for, and nothing
 * else. */
static int drain(struct tar_reader *t, struct err *e)
{
	size_t got;

	do {
		int r = t->pull(t->arg, t->scratch, sizeof(t->scratch), &got, e);

		if (r < 0)
			return r;
		if (!is_zero(t->scratch, got))
			return err_set(e, -EUCLEAN, "there is something behind the end of the tar");
	} while (got == sizeof(t->scratch));
	t->ended = true;
	return TAR_END;
}

/* The body of an extension, without its padding. */
static int extension(struct tar_reader *t, const struct tar_header *h, struct buf *to, struct err *e)
{
	int r;

	if (h->size > TAR_MAX_EXTENSION)
		return err_set(e, -EUCLEAN, "a tar extension of %llu bytes; %u are allowed",
			       (unsigned long long)h->size, TAR_MAX_EXTENSION);
	to->size = 0;
	buf_zero(to, (size_t)h->size);
	if (buf_failed(to))
		return -ENOMEM;
	r = h->size ? pull_all(t, to->data, to->size, e) : 0;
	return r < 0 ? r : skip(t, padding_of(h->size), e);
}

static int long_text(struct tar_reader *t, const struct tar_header *h, struct buf *to, struct err *e)
{
	int r = extension(t, h, to, e);

	if (r < 0)
		return r;
	if (to->size)
		to->size = strnlen((char *)to->data, to->size);
	buf_u8(to, 0);
	return buf_failed(to) ? -ENOMEM : 0;
}

/* Pull extensions up to the header they belong to. */
static int next_header(struct tar_reader *t, uint8_t *block, struct err *e)
{
	struct tar_header *h = &t->header;
	bool extended = false;

	for (;;) {
		size_t got;
		int r = t->pull(t->arg, block, TAR_BLOCK, &got, e);

		if (r < 0)
			return r;
		if ((got && got < TAR_BLOCK) || (got < TAR_BLOCK && extended))
			return err_set(e, -EUCLEAN, "the tar ends in the middle of a header");
		if (is_zero(block, got)) {
			if (extended)
				return err_set(e, -EUCLEAN, "a tar extension with no entry behind it");
			return drain(t, e);
		}
		r = tar_header_decode(h, block, e);
		if (r < 0)
			return r;
		switch (h->type) {
		case 'x':
			r = extension(t, h, &t->pax, e);
			break;
		case 'g':
			r = skip(t, h->size + padding_of(h->size), e);
			break;
		case 'L':
			r = long_text(t, h, &t->gnu_path, e);
			break;
		case 'K':
			r = long_text(t, h, &t->gnu_link, e);
			break;
		default:
			return 0;
		}
		if (r < 0)
			return r;
		extended |= h->type != 'g';
	}
}

static int entry_type(uint8_t flag, const char *path, enum tar_type *out, struct err *e)
{
	size_t n = strlen(path);

	switch (flag) {
	case 0: /* V7 has no type for directories */
		*out = n && path[n - 1] == '/' ? TAR_DIR : TAR_FILE;
		return 0;
	case TAR_FILE:
	case '7': /* contiguous */
	case 'S': /* sparse */
		*out = TAR_FILE;
		return 0;
	case TAR_LINK:
	case TAR_SYMLINK:
	case TAR_CHR:
	case TAR_BLK:
	case TAR_DIR:
	case TAR_FIFO:
		*out = (enum tar_type)flag;
		return 0;
	default:
		return err_set(e, -ENOTSUP, "%s: a tar entry of type 0x%02x, which no image has", path, flag);
	}
}

static int sparse_map(struct tar_reader *t, const uint8_t *block, struct tar_pax_sparse *s,
		      struct tar_entry *out, struct err *e)
{
	uint64_t used = 0;
	int r;

	if (t->header.type == 'S') {
		r = tar_map_gnu(&t->map, block, t->pull, t->arg, &s->size, e);
	} else if (s->major_1 && s->minor_0) {
		r = tar_map_1_0(&t->map, t->pull, t->arg, t->stored, &used, e);
	} else if (s->other_version || s->major_1) {
		r = err_set(e, -ENOTSUP, "a sparse file in a form that is not known");
	} else if (s->map.size) {
		r = tar_map_text(&t->map, s->map.data, s->map.size, e);
	} else {
		return 0;
	}
	if (r < 0)
		return r;
	t->stored -= used;
	out->sparse = true;
	out->size = s->size;
	return tar_map_check(&t->map, t->stored, s->size, e);
}

static const char *text_of(const struct buf *gnu, const struct buf *pax, const char *header)
{
	return gnu->size ? (const char *)gnu->data : pax->size ? (const char *)pax->data : header;
}

/* What the header says, with what the extensions say instead. */
static int assemble(struct tar_reader *t, const uint8_t *block, struct tar_pax_sparse *sparse,
		    struct tar_entry *out, struct err *e)
{
	struct tar_header *h = &t->header;
	int r = tar_pax_apply(bytes_of(t->pax.data, t->pax.size), h, &t->path, &t->link, sparse, e);

	if (r < 0)
		return r;
	if (buf_failed(&t->path) || buf_failed(&t->link) || buf_failed(&sparse->map))
		return -ENOMEM;
	*out = (struct tar_entry){
		.path = text_of(&t->gnu_path, &t->path, h->path),
		.link = text_of(&t->gnu_link, &t->link, h->link),
		.mode = h->mode,
		.uid = h->uid,
		.gid = h->gid,
		.major = h->major,
		.minor = h->minor,
		.mtime = h->mtime,
		.mtime_nsec = h->mtime_nsec,
		.pax = bytes_of(t->pax.data, t->pax.size),
	};
	r = entry_type(h->type, out->path, &out->type, e);
	if (r < 0)
		return r;
	t->map.n = 0;
	t->stored = out->type == TAR_FILE ? h->size : 0;
	t->padding = padding_of(t->stored);
	if (t->stored > INT64_MAX - TAR_BLOCK)
		return err_set(e, -EUCLEAN, "%s: an impossible size", out->path);
	out->size = t->stored;
	if (out->type == TAR_FILE)
		r = sparse_map(t, block, sparse, out, e);
	if (r == 0 && !out->sparse && out->size)
		r = tar_map_add(&t->map, 0, out->size, e);
	if (r < 0)
		return err_prefix(e, r, "%s", out->path);
	out->extents = t->map.extents;
	out->n_extents = t->map.n;
	return 0;
}

int tar_next(struct tar_reader *t, struct tar_entry *out, struct err *e)
{
	struct tar_pax_sparse sparse = {0};
	uint8_t block[TAR_BLOCK];
	int r;

	if (t->ended)
		return TAR_END;
	r = skip(t, t->stored, e);
	if (r == 0)
		r = skip(t, t->padding, e);
	if (r < 0)
		return r;
	t->stored = 0;
	t->padding = 0;
	t->pax.size = t->path.size = t->link.size = t->gnu_path.size = t->gnu_link.size = 0;
	buf_init(&sparse.map, (size_t)2 * TAR_MAX_EXTENSION);
	r = next_header(t, block, e);
	if (r == 0)
		r = assemble(t, block, &sparse, out, e);
	buf_deinit(&sparse.map);
	return r;
}

int tar_read(struct tar_reader *t, void *buf, size_t n, size_t *got, struct err *e)
{
	int r;

	if (n > t->stored)
		n = (size_t)t->stored;
	r = pull_all(t, buf, n, e);
	if (r < 0)
		return r;
	t->stored -= n;
	*got = n;
	return 0;
}
