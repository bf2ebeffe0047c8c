/* SPDX-License-Identifier: Apache-2.0
 * Opening a chunk. Nothing is used before the step that covers it, nothing of a failed chunk survives, and
 * zstd sees only authentic bytes, once, with room for exactly what the map promises. */
#define ZSTD_STATIC_LINKING_ONLY /* a context in memory of ours can be wiped */
#include "guestfs/chunk_open.h"
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "proto/format/chunk_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct opener {
	struct aead *aead;
	ZSTD_DCtx *zstd; /* lies in `workspace` */
	void *workspace;
	size_t workspace_size;
	uint8_t *m; /* MAX_STORED_SIZE bytes; all zero between calls */
};

int opener_new(struct opener **out)
{
	struct opener *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->workspace_size = ZSTD_estimateDCtxSize();
	o->workspace = aligned_alloc(64, (o->workspace_size + 63) & ~(size_t)63);
	o->m = malloc(MAX_STORED_SIZE);
	if (o->workspace)
		o->zstd = ZSTD_initStaticDCtx(o->workspace, o->workspace_size);
	if (!o->zstd || !o->m || aead_new(&o->aead) < 0) {
		opener_free(o);
		return -ENOMEM;
	}
	*out = o;
	return 0;
}

void opener_free(struct opener *o)
{
	if (!o)
		return;
	aead_free(o->aead);
	if (o->workspace)
		explicit_bzero(o->workspace, o->workspace_size);
	free(o->workspace);
	free(o->m);
	free(o);
}

static int check_stored(const struct chunk_expect *x, const uint8_t *stored, size_t stored_size,
			struct err *e)
{
	struct digest id;
	int r;

	if (stored_size != x->entry->stored_size || stored_size < MIN_STORED_SIZE ||
	    stored_size > MAX_STORED_SIZE)
		return err_set(e, -EBADMSG, "%zu stored bytes, the table says %u", stored_size,
			       x->entry->stored_size);
	r = sha256(&id, stored, stored_size);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (!digest_equal(&id, &x->entry->id))
		return err_set(e, -EBADMSG, "the stored bytes are not those of the table's id");
	return 0;
}

/* [C5]: exactly one ordinary frame, that says nothing else than what the header says. */
static int inflate(struct opener *o, uint8_t *plain, const struct chunk_header *h, const uint8_t *payload,
		   struct err *e)
{
	unsigned long long content;
	size_t n;

	if (h->payload_size < 4 || ZSTD_isSkippableFrame(payload, h->payload_size) ||
	    ZSTD_findFrameCompressedSize(payload, h->payload_size) != h->payload_size)
		return err_set(e, -EUCLEAN, "chunk [C5]: the payload is not one zstd frame");
	content = ZSTD_getFrameContentSize(payload, h->payload_size);
	if (content != h->plain_size && content != ZSTD_CONTENTSIZE_UNKNOWN)
		return err_set(e, -EUCLEAN, "chunk [C5]: a frame of %llu bytes for %u", content,
			       h->plain_size);
	n = ZSTD_decompressDCtx(o->zstd, plain, h->plain_size, payload, h->payload_size);
	if (n != h->plain_size) {
		explicit_bzero(plain, h->plain_size);
		return err_set(e, -EUCLEAN, "chunk [C5]: %s",
			       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "short");
	}
	return 0;
}

static int open_message(struct opener *o, uint8_t *plain, uint32_t *size, const struct chunk_expect *x,
			size_t m_size, struct err *e)
{
	const uint8_t *payload = o->m + CHUNK_HEADER_SIZE;
	struct chunk_header h;
	int r = chunk_header_decode(&h, o->m, m_size, x->max_chunk_size, e);

	if (r < 0)
		return r;
	if (x->plain_size && h.plain_size != x->plain_size)
		return err_set(e, -EUCLEAN, "chunk header [C4]: %u plaintext bytes, the map says %u",
			       h.plain_size, x->plain_size);
	if (h.codec == CHUNK_CODEC_RAW)
		memcpy(plain, payload, h.plain_size);
	else
		r = inflate(o, plain, &h, payload, e);
	if (r == 0)
		*size = h.plain_size;
	return r;
}

int chunk_open(struct opener *o, uint8_t *plain, uint32_t *size, const struct chunk_expect *expect,
	       const uint8_t *stored, size_t stored_size, struct err *e)
{
	size_t m_size;
	int r = check_stored(expect, stored, stored_size, e);

	if (r < 0)
		return r;
	m_size = stored_size - AEAD_TAG_SIZE;
	r = aead_open(o->aead, o->m, stored, stored_size, expect->key);
	if (r < 0)
		return err_set(e, r, r == -EBADMSG ? "the tag is wrong" : "out of memory");
	r = open_message(o, plain, size, expect, m_size, e);
	explicit_bzero(o->m, m_size);
	return r;
}
