/* SPDX-License-Identifier: Apache-2.0
 * zlib and libzstd behind one verb. (libarchive's gzip filter does not look at the checksum.) */
#include "publisher/decompress.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_ONLY (MAX_WBITS + 16) /* inflateInit2(): the largest window, a gzip header and trailer */

struct decompressor {
	enum compression kind;
	bool inside; /* of a member or frame; also before the first, which must be there */
	z_stream gzip;
	ZSTD_DStream *zstd;
};

int decompressor_new(struct decompressor **out, enum compression kind)
{
	struct decompressor *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->kind = kind;
	d->inside = kind != COMPRESSION_NONE;
	if (kind == COMPRESSION_ZSTD)
		d->zstd = ZSTD_createDStream();
	if ((kind == COMPRESSION_GZIP && inflateInit2(&d->gzip, GZIP_ONLY) != Z_OK) ||
	    (kind == COMPRESSION_ZSTD && !d->zstd)) {
		free(d);
		return -ENOMEM;
	}
	*out = d;
	return 0;
}

void decompressor_free(struct decompressor *d)
{
	if (!d)
		return;
	if (d->kind == COMPRESSION_GZIP)
		(void)inflateEnd(&d->gzip);
	ZSTD_freeDStream(d->zstd);
	free(d);
}

static int damaged(const char *kind, const char *words, struct err *e)
{
	return err_set(e, -EUCLEAN, "not a sound %s stream: %s", kind, words);
}

static int step_gzip(struct decompressor *d, const uint8_t **in, size_t *n, uint8_t *out, size_t room,
		     size_t *made, struct err *e)
{
	z_stream *z = &d->gzip;
	int r;

	if (!d->inside && inflateReset(z) != Z_OK)
		return -ENOMEM;
	z->next_in = (z_const Bytef *)(uintptr_t)*in; /* zlib only reads it, but its type does not say so */
	z->avail_in = *n < UINT_MAX ? (uInt)*n : UINT_MAX;
	z->next_out = out;
	z->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
	r = inflate(z, Z_NO_FLUSH);
	*n -= (size_t)(z->next_in - *in);
	*in = z->next_in;
	*made = (size_t)(z->next_out - out);
	if (r == Z_MEM_ERROR)
		return -ENOMEM;
	if (r != Z_OK && r != Z_STREAM_END &&
	    r != Z_BUF_ERROR) /* the last one: nothing to do without more input */
		return damaged("gzip", z->msg ? z->msg : "a dictionary is wanted", e);
	d->inside = r != Z_STREAM_END;
	return 0;
}

static int step_zstd(struct decompressor *d, const uint8_t **in, size_t *n, uint8_t *out, size_t room,
		     size_t *made, struct err *e)
{
	ZSTD_inBuffer from = {*in, *n, 0};
	ZSTD_outBuffer to = {out, room, 0};
	size_t r = ZSTD_decompressStream(d->zstd, &to, &from);

	if (ZSTD_isError(r))
		return damaged("zstd", ZSTD_getErrorName(r), e);
	*in += from.pos;
	*n -= from.pos;
	*made = to.pos;
	d->inside = r != 0;
	return 0;
}

int decompressor_step(struct decompressor *d, const uint8_t **in, size_t *n, uint8_t *out, size_t room,
		      size_t *made, struct err *e)
{
	*made = 0;
	if (!*n && !d->inside) /* nothing begins with nothing */
		return 0;
	switch (d->kind) {
	case COMPRESSION_GZIP:
		return step_gzip(d, in, n, out, room, made, e);
	case COMPRESSION_ZSTD:
		return step_zstd(d, in, n, out, room, made, e);
	case COMPRESSION_NONE:
		break;
	}
	*made = *n < room ? *n : room;
	memcpy(out, *in, *made);
	*in += *made;
	*n -= *made;
	return 0;
}

bool decompressor_at_end(const struct decompressor *d)
{
	return !d->inside;
}
