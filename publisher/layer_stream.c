/* SPDX-License-Identifier: Apache-2.0
 * Two hashes around a decompressor, on a thread of their own: a ring of pieces of the tar lies between it and
 * whoever pulls. The media type says which decompressor; a stream that is something else is refused, because
 * two readers that guess may see two images. */
#include "publisher/layer_stream.h"

#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "publisher/decompress.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define STORED_SIZE (128u << 10)
#define PIECE_SIZE (128u << 10)
#define N_PIECES 8u

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

struct piece {
	size_t n;
	uint8_t bytes[PIECE_SIZE];
};

struct layer_stream {
	/* the thread's; after join whoever joined it */
	const struct layer_source *source;
	struct decompressor *decompressor;
	struct sha256 stored_hash, tar_hash;
	uint64_t stored_size;
	const uint8_t *stored; /* what the decompressor has not used of stored_bytes */
	size_t stored_left;
	bool source_ended;
	uint8_t stored_bytes[STORED_SIZE];

	/* the puller's */
	const uint8_t *tar; /* what was not pulled of the piece at `head` */
	size_t tar_left;
	uint64_t tar_size;
	bool running; /* the thread was not joined yet */
	pthread_t thread;

	pthread_mutex_t lock; /* guards what follows, but pieces: [head, tail) are the puller's */
	pthread_cond_t filled, freed;
	uint64_t head, tail;
	bool ended, stop; /* no piece comes any more; none is wanted */
	int result;	  /* of the thread, with words */
	struct err err;
	struct piece pieces[N_PIECES];
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

/* The next bytes of the tar, hashed; none at its end. */
static int make_piece(struct layer_stream *s, struct piece *p, struct err *e)
{
	p->n = 0;
	while (!p->n) {
		int r = 0;

		if (!s->stored_left && !s->source_ended)
			r = read_stored(s, e);
		if (r == 0)
			r = decompressor_step(s->decompressor, &s->stored, &s->stored_left, p->bytes,
					      sizeof(p->bytes), &p->n, e);
		if (r < 0)
			return r;
		if (s->source_ended && !p->n)
			return decompressor_at_end(s->decompressor)
				       ? 0
				       : err_set(e, -EUCLEAN, "the compressed layer ends too early");
	}
	return sha256_update(&s->tar_hash, p->bytes, p->n);
}

static void *make_pieces(void *stream)
{
	struct layer_stream *s = stream;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->ended) {
		struct piece *p = &s->pieces[s->tail % N_PIECES];

		while (!s->stop && s->tail - s->head == N_PIECES)
			(void)pthread_cond_wait(&s->freed, &s->lock);
		if (s->stop)
			break;
		(void)pthread_mutex_unlock(&s->lock);
		s->result = make_piece(s, p, &s->err);
		(void)pthread_mutex_lock(&s->lock);
		if (s->result < 0 || !p->n)
			s->ended = true;
		else
			s->tail++;
		(void)pthread_cond_signal(&s->filled);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void join(struct layer_stream *s)
{
	if (!s->running)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stop = true;
	(void)pthread_cond_signal(&s->freed);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	s->running = false;
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
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->filled, NULL);
	(void)pthread_cond_init(&s->freed, NULL);
	r = sha256_init(&s->stored_hash);
	if (r == 0)
		r = sha256_init(&s->tar_hash);
	if (r == 0)
		r = decompressor_new(&s->decompressor, compression);
	if (r == 0)
		r = -pthread_create(&s->thread, NULL, make_pieces, s);
	if (r < 0) {
		layer_stream_free(s);
		return err_errno(e, r, "cannot read a layer");
	}
	s->running = true;
	*out = s;
	return 0;
}

void layer_stream_free(struct layer_stream *s)
{
	if (!s)
		return;
	join(s);
	decompressor_free(s->decompressor);
	sha256_deinit(&s->stored_hash);
	sha256_deinit(&s->tar_hash);
	(void)pthread_cond_destroy(&s->filled);
	(void)pthread_cond_destroy(&s->freed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Give the piece back that was pulled and wait for the next; at the end of the tar there is none. */
static int next_piece(struct layer_stream *s, struct err *e)
{
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	if (s->tar) {
		s->head++;
		s->tar = NULL;
		(void)pthread_cond_signal(&s->freed);
	}
	while (s->head == s->tail && !s->ended)
		(void)pthread_cond_wait(&s->filled, &s->lock);
	if (s->head != s->tail) {
		s->tar = s->pieces[s->head % N_PIECES].bytes;
		s->tar_left = s->pieces[s->head % N_PIECES].n;
		s->tar_size += s->tar_left;
	} else {
		r = s->result;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r < 0 ? err_set(e, r, "%s", s->err.text) : 0;
}

int layer_stream_pull(void *stream, void *buf, size_t n, size_t *got, struct err *e)
{
	struct layer_stream *s = stream;
	uint8_t *to = buf;

	*got = 0;
	while (*got < n) {
		size_t piece = n - *got < s->tar_left ? n - *got : s->tar_left;

		if (!piece) {
			int r = next_piece(s, e);

			if (r < 0)
				return r;
			if (!s->tar)
				break;
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
	join(s);
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
