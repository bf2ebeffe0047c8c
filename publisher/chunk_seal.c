/* SPDX-License-Identifier: Apache-2.0
 * One chunk: message, key, seal, id. */
#include "publisher/chunk_seal.h"
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "proto/format/chunk_header.h"
#include "proto/format/format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* zstd pays when it saves at least this part of the plaintext: a raw chunk costs the reader no inflating. */
#define WORTH_SHIFT 5

struct chunk_sealer {
	enum padding padding;
	ZSTD_CCtx *zstd;
	struct aead *aead;
	uint8_t *m;	     /* MAX_STORED_SIZE: the message, then sealed in place */
	size_t m_size;	     /* 0: there is no message to seal */
	uint32_t plain_size; /* of the message */
};

uint64_t padme(uint64_t n)
{
	unsigned exponent, significant;
	uint64_t mask;

	if (n < 2)
		return n;
	exponent = 63u - (unsigned)__builtin_clzll(n);
	significant = exponent < 2 ? 1 : 32u - (unsigned)__builtin_clz(exponent);
	mask = (1ull << (exponent - significant)) - 1;
	return (n + mask) & ~mask;
}

int chunk_sealer_new(struct chunk_sealer **out, const struct seal_options *o)
{
	struct chunk_sealer *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->padding = o->padding;
	s->zstd = ZSTD_createCCtx();
	s->m = malloc(MAX_STORED_SIZE);
	if (!s->zstd || !s->m || aead_new(&s->aead) < 0 ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, o->level)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_contentSizeFlag, 1)) ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 0))) {
		chunk_sealer_free(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void chunk_sealer_free(struct chunk_sealer *s)
{
	if (!s)
		return;
	if (s->m)
		explicit_bzero(s->m, MAX_STORED_SIZE);
	free(s->m);
	aead_free(s->aead);
	(void)ZSTD_freeCCtx(s->zstd);
	free(s);
}

/* Fill s->m with header, payload and padding. */
static int make_message(struct chunk_sealer *s, const void *plain, size_t n)
{
	struct chunk_header h = {.codec = CHUNK_CODEC_ZSTD, .plain_size = (uint32_t)n};
	uint8_t *payload = s->m + CHUNK_HEADER_SIZE;
	size_t packed, used;

	s->m_size = 0;
	if (n == 0 || n > MAX_CHUNK_SIZE)
		return -EINVAL;
	packed = ZSTD_compress2(s->zstd, payload, n, plain, n);
	if (ZSTD_isError(packed) || packed > n - (n >> WORTH_SHIFT)) {
		h.codec = CHUNK_CODEC_RAW;
		memcpy(payload, plain, n);
		packed = n;
	}
	h.payload_size = (uint32_t)packed;
	chunk_header_encode(&h, s->m);
	used = CHUNK_HEADER_SIZE + packed;
	s->m_size = s->padding == PADDING_PADME ? (size_t)padme(used) : used;
	memset(s->m + used, 0, s->m_size - used);
	s->plain_size = (uint32_t)n;
	return 0;
}

int chunk_message(struct chunk_sealer *s, const void *plain, size_t n, struct digest *m_digest,
		  uint32_t *stored_size)
{
	int r = make_message(s, plain, n);

	if (r == 0)
		r = sha256(m_digest, s->m, s->m_size);
	if (r == 0)
		*stored_size = (uint32_t)s->m_size + AEAD_TAG_SIZE;
	return r;
}

int chunk_seal_message(struct chunk_sealer *s, const struct secret *key, struct sealed_chunk *out,
		       const uint8_t **stored)
{
	size_t n = s->m_size;
	int r;

	s->m_size = 0;
	if (n == 0)
		return -EINVAL;
	r = aead_seal(s->aead, s->m, s->m, n, key);
	if (r == 0)
		r = sha256(&out->id, s->m, n + AEAD_TAG_SIZE);
	if (r < 0)
		return r;
	out->stored_size = (uint32_t)n + AEAD_TAG_SIZE;
	out->plain_size = s->plain_size;
	out->key = *key;
	*stored = s->m;
	return 0;
}

int chunk_seal(struct chunk_sealer *s, const struct secret *prk, const void *plain, size_t n,
	       struct sealed_chunk *out, const uint8_t **stored)
{
	cleanup_secret struct secret key;
	struct digest m_digest;
	uint32_t stored_size;
	int r = chunk_message(s, plain, n, &m_digest, &stored_size);

	if (r == 0)
		r = kdf_chunk_key(&key, prk, s->m_size, &m_digest);
	if (r == 0)
		r = chunk_seal_message(s, &key, out, stored);
	return r;
}
