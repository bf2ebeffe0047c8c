/* SPDX-License-Identifier: Apache-2.0
 * A JWE as JSON, tried with an EC and an RSA key. Up to the first newline stands the protected header in
 * plain text: it is put into base64url here, which chance would never write. Without a newline the JSON is
 * taken as it is. */
#include "crypto/jwe.h"
#include "proto/base/base64.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/test_keys.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

static EVP_PKEY *load(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

	fuzz_assert(key != NULL);
	(void)BIO_free(bio);
	return key;
}

/* {"protected":"…", and the rest of the object. */
static void join(struct buf *to, const uint8_t *header, size_t n, const uint8_t *rest, size_t rest_size)
{
	buf_put(to, "{\"protected\":\"", 14);
	base64_encode(to, BASE64_URL, header, n);
	buf_put(to, "\",", 2);
	buf_put(to, rest, rest_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EVP_PKEY *keys[2];
	cleanup_buf struct buf text = {.max = JWE_MAX_SIZE};
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;

	if (!keys[0]) {
		keys[0] = load(TEST_KEY_EC);
		keys[1] = load(TEST_KEY_RSA);
	}
	if (newline)
		join(&text, data, (size_t)(newline - data), newline + 1, size - (size_t)(newline + 1 - data));
	else
		buf_put(&text, data, size);
	for (int i = 0; i < 2 && !buf_failed(&text) && text.size; i++) {
		cleanup_buf struct buf plain = {.max = JWE_MAX_SIZE, .secret = true};
		struct err e;

		if (jwe_open(&plain, (const char *)text.data, text.size, keys[i], &e) < 0)
			fuzz_assert(plain.size == 0);
	}
	ERR_clear_error();
	return 0;
}
