/* SPDX-License-Identifier: Apache-2.0
 * Two hashes around a decompressor. The media type says which one; a stream that is something else is
 * refused, because two readers that guess may see two images. */
#include "publisher/layer_stream.h"

#include "crypto/sha256.h"
#include "proto/base/cleanup.h"

#include <archive.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_SIZE (256u << 10)

static const struct kind {
	const char *media_type;
	int filter; /* ARCHIVE_FILTER_… */
} kinds[] = {
	{"application/vnd.oci.image.layer.v1.tar", ARCHIVE_FILTER_NONE},
	{"application/vnd.oci.image.layer.v1.tar+gzip", ARCHIVE_FILTER_GZIP},
	{"application/vnd.oci.image.layer.v1.tar+zstd", ARCHIVE_FILTER_ZSTD},
	{"application/vnd.docker.image.rootfs.diff.tar", ARCHIVE_FILTER_NONE},
	{"application/vnd.docker.image.rootfs.diff.tar.gzip", ARCHIVE_FILTER_GZIP},
	{"application/vnd.docker.image.rootfs.diff.tar.zstd", ARCHIVE_FILTER_ZSTD},
};

struct layer_stream {
	const struct layer_source *source;
	int filter;
	struct archive *archive;
	struct sha256 stored_hash, tar_hash;
	uint64_t stored_size, tar_size;
	const uint8_t *block; /* decompressed bytes that were not pulled yet; the archive's */
	size_t block_left;
	bool ended;
	int failed;	  /* what the source returned */
	struct err words; /* and said */
	uint8_t input[INPUT_SIZE];
};

static int find_filter(const char *type, int *filter, struct err *e)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(type, kinds[i].media_type)) {
			*filter = kinds[i].filter;
			return 0;
		}
	}
	if (strstr(type, "nondistributable") || strstr(type, ".foreign."))
		return err_set(e, -ENOTSUP, "%s: a foreign layer, which its registry does not give away",
			       type);
	if (strstr(type, "encrypted"))
		return err_set(e, -ENOTSUP, "%s: the layer is encrypted already", type);
	return err_set(e, -ENOTSUP, "%s: not the media type of a layer", type);
}

int layer_media_type_check(const char *media_type, struct err *e)
{
	int filter;

	return find_filter(media_type, &filter, e);
}

/* libarchive's read callback: the next stored bytes. */
static la_ssize_t give(struct archive *a, void *arg, const void **block)
{
	struct layer_stream *s = arg;
	size_t n = 0;
	int r = s->source->read(s->source->arg, s->input, sizeof(s->input), &n, &s->words);

	if (r == 0 && n > s->source->size - s->stored_size)
		r = err_set(&s->words, -EBADMSG,
			    "the layer is longer than the %llu bytes that the manifest says",
			    (unsigned long long)s->source->size);
	if (r == 0 && n)
		r = sha256_update(&s->stored_hash, s->input, n);
	if (r < 0) {
		s->failed = r;
		archive_set_error(a, -r, "source");
		return ARCHIVE_FATAL;
	}
	s->stored_size += n;
	*block = s->input;
	return (la_ssize_t)n;
}

static int damaged(struct layer_stream *s, struct err *e)
{
	const char *words = archive_error_string(s->archive);

	if (s->failed) {
		if (e)
			*e = s->words;
		return s->failed;
	}
	if (archive_errno(s->archive) == ENOMEM)
		return -ENOMEM;
	return err_set(e, -EUCLEAN, "the layer cannot be decompressed: %s", words ? words : "damaged");
}

static int open_archive(struct layer_stream *s, struct err *e)
{
	struct archive_entry *entry;
	struct archive *a = s->archive = archive_read_new();
	int r;

	if (!a)
		return -ENOMEM;
	/* An external program in place of a missing filter answers ARCHIVE_WARN: not for us. */
	if ((s->filter == ARCHIVE_FILTER_GZIP && archive_read_support_filter_gzip(a) != ARCHIVE_OK) ||
	    (s->filter == ARCHIVE_FILTER_ZSTD && archive_read_support_filter_zstd(a) != ARCHIVE_OK))
		return err_set(e, -ENOTSUP, "libarchive was built without gzip or zstd");
	if (archive_read_support_format_raw(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK)
		return -ENOMEM;
	r = archive_read_open(a, s, NULL, give, NULL);
	if (r == ARCHIVE_OK)
		r = archive_read_next_header(a, &entry);
	if (r == ARCHIVE_EOF)
		s->ended = true;
	else if (r != ARCHIVE_OK)
		return damaged(s, e);
	if (archive_filter_code(a, 0) != s->filter || archive_filter_count(a) != (s->filter ? 2 : 1))
		return err_set(e, -EUCLEAN, "the layer is not %s, as its media type says",
			       s->filter == ARCHIVE_FILTER_GZIP ? "gzip" : "zstd");
	return 0;
}

int layer_stream_new(struct layer_stream **out, const struct layer_source *source, struct err *e)
{
	struct layer_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->source = source;
	r = find_filter(source->media_type, &s->filter, e);
	if (r == 0)
		r = sha256_init(&s->stored_hash);
	if (r == 0)
		r = sha256_init(&s->tar_hash);
	if (r == 0)
		r = open_archive(s, e);
	if (r < 0) {
		layer_stream_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void layer_stream_free(struct layer_stream *s)
{
	if (!s)
		return;
	archive_read_free(s->archive);
	sha256_deinit(&s->stored_hash);
	sha256_deinit(&s->tar_hash);
	free(s);
}

/* Decompress the next block, and hash it. */
static int next_block(struct layer_stream *s, struct err *e)
{
	const void *block;
	size_t n = 0;
	la_int64_t offset;
	int r = archive_read_data_block(s->archive, &block, &n, &offset);

	if (r == ARCHIVE_EOF) {
		s->ended = true;
		return 0;
	}
	if (r != ARCHIVE_OK)
		return damaged(s, e);
	s->block = block;
	s->block_left = n;
	s->tar_size += n;
	return sha256_update(&s->tar_hash, block, n);
}

int layer_stream_pull(void *stream, void *buf, size_t n, size_t *got, struct err *e)
{
	struct layer_stream *s = stream;
	uint8_t *to = buf;

	*got = 0;
	while (n && (s->block_left || !s->ended)) {
		size_t piece = n < s->block_left ? n : s->block_left;

		if (!piece) {
			int r = next_block(s, e);

			if (r < 0)
				return r;
			continue;
		}
		memcpy(to, s->block, piece);
		s->block += piece;
		s->block_left -= piece;
		to += piece;
		n -= piece;
		*got += piece;
	}
	return 0;
}

static int check_digest(struct sha256 *hash, const struct digest *want, const char *what, struct err *e)
{
	char text[DIGEST_TEXT_SIZE], wanted[DIGEST_TEXT_SIZE];
	struct digest d;
	int r = sha256_final(hash, &d);

	if (r < 0)
		return r;
	if (!digest_equal(&d, want))
		return err_set(e, -EBADMSG, "%s is %s, not %s", what, digest_text(&d, text),
			       digest_text(want, wanted));
	return 0;
}

int layer_stream_check_stored(struct layer_stream *s, struct err *e)
{
	const void *block;
	la_ssize_t n;

	do {
		n = give(s->archive, s, &block);
		if (n < 0)
			return damaged(s, e);
	} while (n);
	if (s->stored_size < s->source->size)
		return err_set(e, -EBADMSG, "the layer ends after %llu of %llu bytes",
			       (unsigned long long)s->stored_size, (unsigned long long)s->source->size);
	return check_digest(&s->stored_hash, &s->source->digest, "the layer's digest", e);
}

int layer_stream_finish(struct layer_stream *s, struct err *e)
{
	uint64_t used = (uint64_t)archive_filter_bytes(s->archive, -1);
	int r = layer_stream_check_stored(s, e);

	if (r < 0)
		return r;
	if (s->filter != ARCHIVE_FILTER_NONE && used < s->stored_size)
		return err_set(e, -EUCLEAN, "%llu bytes behind the end of the compressed layer",
			       (unsigned long long)(s->stored_size - used));
	return check_digest(&s->tar_hash, &s->source->diff_id, "the layer's diff ID", e);
}

uint64_t layer_stream_size(const struct layer_stream *s)
{
	return s->tar_size;
}
