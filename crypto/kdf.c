/* SPDX-License-Identifier: Apache-2.0
 * HKDF on OpenSSL's HMAC, and every derivation of the format with its own label. */
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/format/descriptor.h"
#include "proto/format/format.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define INFO_MAX 160 /* the longest label, its NUL and 64 bytes */

int hkdf_extract(struct secret *prk, const void *salt, size_t salt_size, const void *key, size_t key_size)
{
	if (!HMAC(EVP_sha256(), salt, (int)salt_size, key, key_size, prk->bytes, NULL))
		return -ENOMEM;
	return 0;
}

int hkdf_expand(uint8_t *out, size_t size, const struct secret *prk, const void *info, size_t info_size)
{
	uint8_t block[SECRET_SIZE + INFO_MAX + 1];
	uint8_t t[SECRET_SIZE];
	size_t have = 0; /* bytes of T(n-1): 0 for the first block */
	int r = 0;

	if (info_size > INFO_MAX || size > (size_t)255 * SECRET_SIZE)
		return -EINVAL;
	for (uint8_t n = 1; size > 0; n++) {
		size_t part = size < SECRET_SIZE ? size : SECRET_SIZE;

		memcpy(block, t, have);
		memcpy(block + have, info, info_size);
		block[have + info_size] = n;
		if (!HMAC(EVP_sha256(), prk->bytes, SECRET_SIZE, block, have + info_size + 1, t, NULL)) {
			r = -ENOMEM;
			break;
		}
		memcpy(out, t, part);
		out += part;
		size -= part;
		have = SECRET_SIZE;
	}
	explicit_bzero(t, sizeof(t));
	explicit_bzero(block, sizeof(block));
	return r;
}

int kdf_prk(struct secret *prk, const char *salt, const struct secret *secret)
{
	return hkdf_extract(prk, salt, strlen(salt), secret->bytes, SECRET_SIZE);
}

/* label ‖ 00 ‖ data, the shape of every info string; sizes are ours and fit. What is in `data` may be secret:
 * it is wiped. */
static int expand_label(uint8_t *out, size_t size, const struct secret *prk, const char *label, uint8_t *data,
			size_t data_size)
{
	uint8_t info[INFO_MAX];
	size_t n = strlen(label) + 1;
	int r;

	memcpy(info, label, n);
	memcpy(info + n, data, data_size);
	explicit_bzero(data, data_size);
	r = hkdf_expand(out, size, prk, info, n + data_size);
	explicit_bzero(info, sizeof(info));
	return r;
}

int kdf_chunk_key(struct secret *out, const struct secret *prk, uint64_t m_size,
		  const struct digest *m_digest)
{
	uint8_t data[4 + 8 + DIGEST_SIZE];

	put_le32(data, SUITE_AES256GCM_SHA256_ZSTD);
	put_le64(data + 4, m_size);
	memcpy(data + 12, m_digest->bytes, DIGEST_SIZE);
	return expand_label(out->bytes, SECRET_SIZE, prk, LABEL_CHUNK_KEY, data, sizeof(data));
}

int kdf_salt(uint8_t out[static 32], const struct secret *prk_image, const struct secret *random,
	     const struct digest *m_root)
{
	uint8_t data[SECRET_SIZE + DIGEST_SIZE];

	memcpy(data, random->bytes, SECRET_SIZE);
	memcpy(data + SECRET_SIZE, m_root->bytes, DIGEST_SIZE);
	return expand_label(out, 32, prk_image, LABEL_SALT, data, sizeof(data));
}

int kdf_root_key(struct secret *out, const struct secret *prk_image, const uint8_t *descriptor)
{
	uint8_t raw[DESCRIPTOR_SIZE], data[4 + DIGEST_SIZE];
	struct digest d;
	int r;

	memcpy(raw, descriptor, sizeof(raw));
	memset(raw + DESCRIPTOR_ROOT_HASH_OFFSET, 0, DIGEST_SIZE);
	r = sha256(&d, raw, sizeof(raw));
	if (r < 0)
		return r;
	put_le32(data, SUITE_AES256GCM_SHA256_ZSTD);
	memcpy(data + 4, d.bytes, DIGEST_SIZE);
	return expand_label(out->bytes, SECRET_SIZE, prk_image, LABEL_ROOT_CHUNK, data, sizeof(data));
}

int kdf_commitment(uint8_t out[static 32], const struct secret *prk_image)
{
	uint8_t data[4];

	put_le32(data, SUITE_AES256GCM_SHA256_ZSTD);
	return expand_label(out, 32, prk_image, LABEL_COMMITMENT, data, sizeof(data));
}

int kdf_cut_table(uint64_t out[static 256], const struct secret *prk_domain)
{
	uint8_t raw[256 * 8];
	int r = expand_label(raw, sizeof(raw), prk_domain, LABEL_CUT, raw, 0);

	for (size_t i = 0; r == 0 && i < 256; i++)
		out[i] = get_le64(raw + 8 * i);
	explicit_bzero(raw, sizeof(raw));
	return r;
}
