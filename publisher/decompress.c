/* SPDX-License-Identifier: Apache-2.0
 * ISA-L and libzstd behind one verb. ISA-L's inflate takes half of zlib's time, and inflating is what a
 * conversion of gzip layers waits for. (libarchive's gzip filter does not look at the checksum.) */
#include "publisher/decompress.h"
#include "publisher/gzip_header.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct decompressor {
	enum compression kind;
	bool inside; /* of a member or frame; also before the first, which must be there */
	ZSTD_DStream *zstd;
	struct gzip_header header;
	bool in_header; /* of a gzip member */
	struct inflate_state gzip;
};

static void begin_member(struct decompressor *d)
{
	gzip_header_begin(&d->header);
	d->in_header = true;
	isal_inflate_init(&d->gzip);
	d->gzip.crc_flag = ISAL_GZIP_NO_HDR_VER; /* the trailer is read, checksum and length are checked */
}

int decompressor_new(struct decompressor **out, enum compression kind)
{
	struct decompressor *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->kind = kind;
	d->inside = kind != COMPRESSION_NONE;
	if (kind == COMPRESSION_GZIP)
		begin_member(d);
	if (kind == COMPRESSION_ZSTD)
		d->zstd = ZSTD_createDStream();
	if (kind == COMPRESSION_ZSTD && !d->zstd) {
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
	struct inflate_state *z = &d->gzip;
	int r;

	if (!d->inside)
		begin_member(d);
	d->inside = true;
	if (d->in_header) {
		r = gzip_header_step(&d->header, in, n);
		if (r != GZIP_HEADER_DONE)
			return r < 0 ? damaged("gzip", "no header of a member", e) : 0;
		d->in_header = false;
	}
	z->next_in = (uint8_t *)(uintptr_t)*in; /* it is only read, but the type does not say so */
	z->avail_in = *n < UINT32_MAX ? (uint32_t)*n : UINT32_MAX;
	z->next_out = out;
	z->avail_out = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
	r = isal_inflate(z);
	*n -= (size_t)(z->next_in - *in);
	*in = z->next_in;
	*made = (size_t)(z->next_out - out);
	if (r != ISAL_DECOMP_OK)
		return damaged("gzip",
			       r == ISAL_INCORRECT_CHECKSUM ? "wrong checksum or length" : "invalid data", e);
	d->inside = z->block_state != ISAL_BLOCK_FINISH;
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
