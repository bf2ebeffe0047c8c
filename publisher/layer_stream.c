/* SPDX-License-Identifier: Apache-2.0
 * Two hashes around a decompressor. The media type says which one; a stream that is something else is
 * refused, because two readers that guess may see two images. */
#include "publisher/layer_stream.h"

#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "publisher/decompress.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define STORED_SIZE (128u << 10)
#define TAR_SIZE (256u << 10)

static const struct layer_type {
	const char *media_type;
	enum compression compression;
} layer_types[] = {
	{"application/vnd.oci.image.layer.v1.tar", COMPRESSION_NONE},
	{"application/vnd.oci.image.layer.v1.tar+gzip", COMPRESSION_GZIP},
	{"application/vnd.oci.image.layer.v1.tar+zstd", COMPRESSION_ZSTD},
	{"application/vnd.docker.image.rootfs.diff.tar", COMPRESSION_NONE},
	{"application/vnd.docker.image.rootfs.diff.tar.gzip", COMPRESSION_GZIP},
	{"application/vnd.docker.image.rootfs.diff.tar.zstd", COMPRESSION_ZSTD},
};

struct layer_stream {
	const struct layer_source *source;
	struct decompressor *decompressor;
	struct sha256 stored_hash, tar_hash;
	uint64_t stored_size, tar_size;
	const uint8_t *stored; /* what the decompressor has not used of stored_bytes */
	size_t stored_left;
	const uint8_t *tar; /* what was not pulled of tar_bytes */
	size_t tar_left;
	bool source_ended, ended;
	uint8_t stored_bytes[STORED_SIZE];
	uint8_t tar_bytes[TAR_SIZE];
};

static int find_compression(const char *type, enum compression *out, struct err *e)
{
	for (size_t i = 0; i < sizeof(layer_types) / sizeof(layer_types[0]); i++) {
		if (!strcmp(type, layer_types[i].media_type)) {
			*out = layer_types[i].compression;
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
	enum compression compression;

	return find_compression(media_type, &compression, e);
}

int layer_stream_new(struct layer_stream **out, const struct layer_source *source, struct err *e)
{
	enum compression compression = COMPRESSION_NONE;
	struct layer_stream *s;
	int r = find_compression(source->media_type, &compression, e);

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->source = source;
	r = sha256_init(&s->stored_hash);
	if (r == 0)
		r = sha256_init(&s->tar_hash);
	if (r == 0)
		r = decompressor_new(&s->decompressor, compression);
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
	decompressor_free(s->decompressor);
	sha256_deinit(&s->stored_hash);
	sha256_deinit(&s->tar_hash);
	free(s);
}

/* The next stored bytes, hashed. */
static int read_stored(struct layer_stream *s, struct err *e)
{
	size_t n = 0;
	int r = s->source->read(s->source->arg, s->stored_bytes, sizeof(s->stored_bytes), &n, e);

	if (r < 0)
		return r;
	if (n > s->source->size - s->stored_size)
		return err_set(e, -EBADMSG, "the layer is longer than the %llu bytes that the manifest says",
			       (unsigned long long)s->source->size);
	s->source_ended = n == 0;
	s->stored_size += n;
	s->stored = s->stored_bytes;
	s->stored_left = n;
	return sha256_update(&s->stored_hash, s->stored_bytes, n);
}

/* The next bytes of the tar, hashed; none when more stored bytes are wanted first. */
static int decompress(struct layer_stream *s, struct err *e)
{
	size_t made = 0;
	int r;

	if (!s->stored_left && !s->source_ended) {
		r = read_stored(s, e);
		if (r < 0)
			return r;
	}
	r = decompressor_step(s->decompressor, &s->stored, &s->stored_left, s->tar_bytes,
			      sizeof(s->tar_bytes), &made, e);
	if (r < 0)
		return r;
	if (s->source_ended && !made) {
		s->ended = true;
		return decompressor_at_end(s->decompressor)
			       ? 0
			       : err_set(e, -EUCLEAN, "the compressed layer ends too early");
	}
	s->tar = s->tar_bytes;
	s->tar_left = made;
	s->tar_size += made;
	return sha256_update(&s->tar_hash, s->tar_bytes, made);
}

int layer_stream_pull(void *stream, void *buf, size_t n, size_t *got, struct err *e)
{
	struct layer_stream *s = stream;
	uint8_t *to = buf;

	*got = 0;
	while (*got < n && (s->tar_left || !s->ended)) {
		size_t piece = n - *got < s->tar_left ? n - *got : s->tar_left;

		if (!piece) {
			int r = decompress(s, e);

			if (r < 0)
				return r;
			continue;
		}
		memcpy(to + *got, s->tar, piece);
		s->tar += piece;
		s->tar_left -= piece;
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
	while (!s->source_ended) {
		int r = read_stored(s, e);

		if (r < 0)
			return r;
	}
	if (s->stored_size < s->source->size)
		return err_set(e, -EBADMSG, "the layer ends after %llu of %llu bytes",
			       (unsigned long long)s->stored_size, (unsigned long long)s->source->size);
	return check_digest(&s->stored_hash, &s->source->digest, "the layer's digest", e);
}

int layer_stream_finish(struct layer_stream *s, struct err *e)
{
	int r = layer_stream_check_stored(s, e);

	return r < 0 ? r : check_digest(&s->tar_hash, &s->source->diff_id, "the layer's diff ID", e);
}

uint64_t layer_stream_size(const struct layer_stream *s)
{
	return s->tar_size;
}
