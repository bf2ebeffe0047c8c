/* SPDX-License-Identifier: Apache-2.0
 * Wrapping and unwrapping the image key: which key files, which annotations, and each breach of [W1]. The
 * real ocicrypt is in test/interop. */
#include "crypto/keywrap.h"
#include "crypto/jwe.h"
#include "proto/base/base64.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

TestSuite(keywrap, .init = scratch_open, .fini = scratch_close);

static const struct digest image = {{0x11, 0x22}};
static const struct secret image_key = {{1, 2, 3, 4, 5}};
#define DIGEST_OF_IMAGE "sha256:1122000000000000000000000000000000000000000000000000000000000000"
#define KEY_BASE64 "AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

/* Write NAME and NAME.pub; returns the key, which the caller frees. */
static EVP_PKEY *write_key(const char *name, EVP_PKEY *key)
{
	char pub[64];
	FILE *f = fopen(scratch_path(name), "w");

	cr_assert(key && f);
	cr_assert_eq(PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	(void)fclose(f);
	(void)snprintf(pub, sizeof(pub), "%s.pub", name);
	f = fopen(scratch_path(pub), "w");
	cr_assert_not_null(f);
	cr_assert_eq(PEM_write_PUBKEY(f, key), 1);
	(void)fclose(f);
	return key;
}

static void make_key(const char *name, EVP_PKEY *key)
{
	EVP_PKEY_free(write_key(name, key));
}

static void write_text(const char *name, const char *text)
{
	FILE *f = fopen(scratch_path(name), "w");

	cr_assert_not_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static void wrap_for(struct buf *to, const char *pub)
{
	struct err e = {""};

	cr_assert_eq(keywrap_wrap(to, &image_key, &image, scratch_path(pub), &e), 0, "%s", e.text);
}

static const char *text_of(struct buf *b)
{
	buf_u8(b, '\0');
	b->size--;
	cr_assert_not(buf_failed(b));
	return (const char *)b->data;
}

static int unwrap(struct buf *b, const char *name, struct err *e)
{
	struct secret got = {{0xee}};
	int r = keywrap_unwrap(&got, text_of(b), &image, scratch_path(name), e);

	if (r == 0)
		cr_assert(secret_equal(&got, &image_key));
	else
		cr_assert_eq(got.bytes[0], 0xee, "written although refused");
	return r;
}

Test(keywrap, each_kind_of_key_and_only_its_own)
{
	static const char *const names[] = {"rsa2048", "rsa3072", "p256", "p384", "p521", "other-p256"};
	struct err e = {""};

	make_key("rsa2048", EVP_RSA_gen(2048));
	make_key("rsa3072", EVP_RSA_gen(3072));
	make_key("p256", EVP_EC_gen("P-256"));
	make_key("p384", EVP_EC_gen("P-384"));
	make_key("p521", EVP_EC_gen("P-521"));
	make_key("other-p256", EVP_EC_gen("P-256"));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
		char pub[64];

		(void)snprintf(pub, sizeof(pub), "%s.pub", names[i]);
		wrap_for(&b, pub);
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			cr_assert_eq(unwrap(&b, names[k], &e), i == k ? 0 : -ENOKEY, "%s with %s: %s",
				     names[i], names[k], e.text);
	}
}

Test(keywrap, many_recipients)
{
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION}, small = {.max = 1000};
	struct err e = {""};

	make_key("a", EVP_EC_gen("P-256"));
	make_key("b", EVP_EC_gen("P-384"));
	make_key("stranger", EVP_EC_gen("P-384"));
	wrap_for(&b, "a.pub");
	cr_assert_null(memchr(b.data, ',', b.size));
	wrap_for(&b, "b.pub");
	cr_assert_not_null(memchr(b.data, ',', b.size));
	cr_assert_eq(unwrap(&b, "a", &e), 0, "%s", e.text);
	cr_assert_eq(unwrap(&b, "b", &e), 0, "%s", e.text);
	cr_assert_eq(unwrap(&b, "stranger", &e), -ENOKEY);
	cr_assert_not_null(strstr(e.text, "none of the 2 wrapped keys"), "%s", e.text);
	wrap_for(&small, "a.pub");
	cr_assert_eq(keywrap_wrap(&small, &image_key, &image, scratch_path("a.pub"), &e), -E2BIG);
}

Test(keywrap, two_wraps_share_nothing)
{
	cleanup_buf struct buf x = {.max = KEYWRAP_MAX_ANNOTATION}, y = {.max = KEYWRAP_MAX_ANNOTATION};

	make_key("a", EVP_EC_gen("P-256"));
	wrap_for(&x, "a.pub");
	wrap_for(&y, "a.pub");
	cr_assert_eq(x.size, y.size);
	cr_assert_neq(memcmp(x.data, y.data, x.size), 0);
}

Test(keywrap, refuses_keys_that_are_too_weak_or_foreign)
{
	struct err e = {""};

	make_key("rsa1024", EVP_RSA_gen(1024));
	make_key("koblitz", EVP_EC_gen("secp256k1"));
	make_key("p224", EVP_EC_gen("P-224"));
	make_key("ed25519", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
	make_key("x25519", EVP_PKEY_Q_keygen(NULL, NULL, "X25519"));
	for (int i = 0; i < 5; i++) {
		static const char *const names[] = {"rsa1024", "koblitz", "p224", "ed25519", "x25519"};
		cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
		struct secret got;
		char pub[64];

		(void)snprintf(pub, sizeof(pub), "%s.pub", names[i]);
		cr_assert_eq(keywrap_wrap(&b, &image_key, &image, scratch_path(pub), &e), -EINVAL, "%s",
			     names[i]);
		cr_assert_not_null(strstr(e.text, "RSA of 2048 bits"), "%s", e.text);
		cr_assert_eq(b.size, 0);
		cr_assert_eq(keywrap_unwrap(&got, "e30=", &image, scratch_path(names[i]), &e), -EINVAL, "%s",
			     names[i]);
	}
}

Test(keywrap, refuses_files_that_are_no_key)
{
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
	char *passphrase = strdup("secret");
	EVP_PKEY *key = write_key("a", EVP_EC_gen("P-256"));
	FILE *f = fopen(scratch_path("locked"), "w");
	struct secret got;
	struct err e = {""};

	cr_assert_eq(PEM_write_PKCS8PrivateKey(f, key, EVP_aes_256_cbc(), passphrase, 6, NULL, NULL), 1);
	(void)fclose(f);
	EVP_PKEY_free(key);
	free(passphrase);
	write_text("empty", "");
	write_text("words", "-----BEGIN PUBLIC KEY-----\nhello\n-----END PUBLIC KEY-----\n");
	for (int i = 0; i < 4; i++) {
		static const char *const privates[] = {"empty", "words", "locked", "a.pub"};
		static const char *const publics[] = {"empty", "words", "locked", "a"};

		cr_assert_eq(keywrap_unwrap(&got, "e30=", &image, scratch_path(privates[i]), &e), -EINVAL,
			     "%s", privates[i]);
		cr_assert_not_null(strstr(e.text, privates[i]), "the words name the file: %s", e.text);
		cr_assert_eq(keywrap_wrap(&b, &image_key, &image, scratch_path(publics[i]), &e), -EINVAL,
			     "%s", publics[i]);
	}
	f = fopen(scratch_path("long"), "w");
	cr_assert(f && ftruncate(fileno(f), 65537) == 0);
	(void)fclose(f);
	cr_assert_eq(keywrap_unwrap(&got, "e30=", &image, scratch_path("long"), &e), -EINVAL);
	cr_assert_not_null(strstr(e.text, "too long"), "%s", e.text);
	cr_assert_eq(keywrap_wrap(&b, &image_key, &image, scratch_path("none"), &e), -ENOENT);
	cr_assert_eq(keywrap_unwrap(&got, "e30=", &image, scratch_path("none"), &e), -ENOENT);
}

Test(keywrap, refuses_annotations_that_are_none)
{
	static const char *const bad[] = {
		"",			/* nothing */
		",",			/* nothing, twice */
		"e30",			/* no padding */
		"e30=,",		/* something missing at the end (and {} is no JWE) */
		"!!!!",			/* not base64 */
		"e30=",			/* {} */
		"W10=",			/* [] */
		"bnVsbA==",		/* null */
		"eyJhIjoxLCJhIjoxfQ==", /* {"a":1,"a":1} */
	};
	struct secret got;
	struct err e = {""};
	char *long_one;

	make_key("a", EVP_EC_gen("P-256"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(keywrap_unwrap(&got, bad[i], &image, scratch_path("a"), &e), -EINVAL, "'%s': %s",
			     bad[i], e.text);
	long_one = malloc(KEYWRAP_MAX_ANNOTATION + 2);
	cr_assert_not_null(long_one);
	memset(long_one, 'A', KEYWRAP_MAX_ANNOTATION + 1);
	long_one[KEYWRAP_MAX_ANNOTATION + 1] = '\0';
	cr_assert_eq(keywrap_unwrap(&got, long_one, &image, scratch_path("a"), &e), -EINVAL);
	free(long_one);
}

/* A JWE whose plaintext is `options`, properly sealed: only the meaning is wrong. */
static int unwrap_options(const char *options, struct err *e)
{
	cleanup_buf struct buf jwe = {.max = JWE_MAX_SIZE}, b = {.max = KEYWRAP_MAX_ANNOTATION};
	EVP_PKEY *key = write_key("a", EVP_EC_gen("P-256"));

	cr_assert_eq(jwe_seal(&jwe, options, strlen(options), key), 0);
	EVP_PKEY_free(key);
	base64_encode(&b, BASE64_STANDARD, jwe.data, jwe.size);
	return unwrap(&b, "a", e);
}

Test(keywrap, takes_the_options_of_every_writer)
{
	static const char *const good[] = {
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE "\",\"cipheroptions\":{}}",
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE
		"\",\"cipheroptions\":{\"nonce\":\"AAAA\"}}",
		"{\"digest\":\"" DIGEST_OF_IMAGE "\",\"symkey\":\"" KEY_BASE64 "\"}",
		" {\n \"digest\" : \"" DIGEST_OF_IMAGE "\",\n \"symkey\" :\n\t\"" KEY_BASE64 "\"\n}\n",
		"{\r\n\"symkey\":\r\n\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE "\"}",
	};
	struct err e = {""};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_assert_eq(unwrap_options(good[i], &e), 0, "%s: %s", good[i], e.text);
}

Test(keywrap, refuses_every_breach_of_w1)
{
	static const char *const bad[] = {
		"",
		"{}",
		"symkey",
		"\"symkey\"",
		"\"symkey\":",
		"\"symkey\":\"",
		"{\"symkey\":null,\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"symkey\":5,\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"symkey\":[5],\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"symkey\":\"\",\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		/* 31 and 33 bytes, another alphabet, spare bits, escapes */
		"{\"symkey\":\"AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\",\"digest\":\"" DIGEST_OF_IMAGE
		"\"}",
		"{\"symkey\":\"AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"digest\":\"" DIGEST_OF_IMAGE
		"\"}",
		"{\"symkey\":\"-QIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"digest\":\"" DIGEST_OF_IMAGE
		"\"}",
		"{\"symkey\":\"AQIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\",\"digest\":\"" DIGEST_OF_IMAGE
		"\"}",
		"{\"symkey\":\"\\u0041QIDBAUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"digest\":"
		"\"" DIGEST_OF_IMAGE "\"}",
		/* twice, somewhere else, as a value */
		"{\"symkey\":\"" KEY_BASE64 "\",\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE
		"\"}",
		"{\"a\":{\"symkey\":\"" KEY_BASE64 "\"},\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"a\":{\"symkey\":\"" KEY_BASE64 "\"},\"symke\\u0079\":\"" KEY_BASE64
		"\",\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"{\"a\":{\"symkey\":\"" KEY_BASE64
		"\"},\"symke\\u0079\":\"short\",\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		"[{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE "\"}]",
		/* the digest: none, not a string, malformed, of another image, twice */
		"{\"symkey\":\"" KEY_BASE64 "\"}",
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":5}",
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"\"}",
		"{\"symkey\":\"" KEY_BASE64
		"\",\"digest\":\"sha256:1122000000000000000000000000000000000000000000000000000000000001\"}",
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE
		"\",\"digest\":\"" DIGEST_OF_IMAGE "\"}",
		/* JSON that ends too early or too late */
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE "\"",
		"{\"symkey\":\"" KEY_BASE64 "\",\"digest\":\"" DIGEST_OF_IMAGE "\"}}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = {""};

		cr_assert_eq(unwrap_options(bad[i], &e), -EUCLEAN, "%s", bad[i]);
		cr_assert_not_null(strstr(e.text, "[W1]"), "%s: %s", bad[i], e.text);
		cr_assert_null(strstr(e.text, "AQID"), "words never hold the key");
	}
}

Test(keywrap, key_of_another_image_is_refused)
{
	const struct digest other = {{0x11, 0x23}};
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
	struct secret got;
	struct err e = {""};

	make_key("a", EVP_EC_gen("P-256"));
	wrap_for(&b, "a.pub");
	cr_assert_eq(keywrap_unwrap(&got, text_of(&b), &other, scratch_path("a"), &e), -EUCLEAN);
}

Test(keywrap, leaves_no_error_in_openssls_queue)
{
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
	struct err e = {""};

	make_key("a", EVP_RSA_gen(2048));
	make_key("b", EVP_RSA_gen(2048));
	wrap_for(&b, "a.pub");
	cr_assert_eq(unwrap(&b, "b", &e), -ENOKEY);
	cr_assert_eq(ERR_peek_error(), 0);
}
