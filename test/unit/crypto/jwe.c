/* SPDX-License-Identifier: Apache-2.0
 * JWE: both serialisations, headers wherever RFC 7516 allows them, and everything that must not open. */
#include "crypto/jwe.h"
#include "crypto/aead_internal.h"
#include "crypto/jwa.h"
#include "proto/base/base64.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

static EVP_PKEY *rsa, *ec;
static const char plain[] = "the plaintext";

static void set_up(void)
{
	rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	cr_assert(rsa && ec);
}

static void tear_down(void)
{
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
}

TestSuite(jwe, .init = set_up, .fini = tear_down);

static int open_text(const char *json, EVP_PKEY *key)
{
	cleanup_buf struct buf out = {.max = JWE_MAX_SIZE, .secret = true};
	struct err e = {""};
	int r = jwe_open(&out, json, strlen(json), key, &e);

	if (r == 0) {
		cr_assert_eq(out.size, strlen(plain));
		cr_assert_eq(memcmp(out.data, plain, out.size), 0);
	} else {
		cr_assert_eq(out.size, 0, "something was released");
	}
	return r;
}

static int open_json(json_t *j, EVP_PKEY *key)
{
	char *text = json_dumps(j, JSON_COMPACT);
	int r = open_text(text, key);

	free(text);
	return r;
}

static json_t *sealed_for(EVP_PKEY *key)
{
	cleanup_buf struct buf b = {.max = JWE_MAX_SIZE};
	json_t *j;

	cr_assert_eq(jwe_seal(&b, plain, strlen(plain), key), 0);
	j = json_loadb((const char *)b.data, b.size, 0, NULL);
	cr_assert_not_null(j);
	return j;
}

Test(jwe, opens_what_it_seals)
{
	json_t *j = sealed_for(rsa), *k = sealed_for(ec);

	cr_assert_eq(open_json(j, rsa), 0);
	cr_assert_eq(open_json(j, ec), -ENOKEY);
	cr_assert_eq(open_json(k, ec), 0);
	cr_assert_eq(open_json(k, rsa), -ENOKEY);
	json_decref(j);
	json_decref(k);
}

Test(jwe, empty_plaintext)
{
	cleanup_buf struct buf b = {.max = JWE_MAX_SIZE}, out = {.max = JWE_MAX_SIZE, .secret = true};

	cr_assert_eq(jwe_seal(&b, "", 0, ec), 0);
	cr_assert_eq(jwe_open(&out, (const char *)b.data, b.size, ec, NULL), 0);
	cr_assert_eq(out.size, 0);
}

/* Replace the string member `name`. */
static void set(json_t *j, const char *name, const char *value)
{
	cr_assert_eq(json_object_set_new(j, name, json_string(value)), 0);
}

Test(jwe, any_changed_character_closes_it)
{
	static const char *const members[] = {"protected", "encrypted_key", "iv", "ciphertext", "tag"};

	for (size_t m = 0; m < sizeof(members) / sizeof(members[0]); m++) {
		json_t *j = sealed_for(ec);
		char *text = strdup(json_string_value(json_object_get(j, members[m])));

		/* the last character may hold spare bits, which the strict decoder refuses as well */
		for (size_t i = 0; i < strlen(text); i++) {
			char was = text[i];

			text[i] = was == 'A' ? 'B' : 'A';
			set(j, members[m], text);
			cr_assert_lt(open_json(j, ec), 0, "%s at %zu", members[m], i);
			text[i] = was;
		}
		free(text);
		json_decref(j);
	}
}

Test(jwe, members_must_be_there_and_be_strings_of_their_size)
{
	static const struct {
		const char *member, *value; /* NULL: a number */
		int code;
	} bad[] = {
		{"iv", "AAAAAAAAAAAAAAAAAAAAAA", -EINVAL}, /* 16 bytes */
		{"iv", "AAAAAAAAAAA", -EINVAL},		   /* 8 bytes */
		{"iv", "", -EINVAL},
		{"iv", NULL, -EINVAL},
		{"tag", "AAAAAAAAAAAAAAAA", -EINVAL}, /* 12 bytes */
		{"tag", "AAAAAA", -EINVAL},	      /* 4 bytes */
		{"tag", "", -EINVAL},
		{"tag", NULL, -EINVAL},
		{"ciphertext", NULL, -EINVAL},
		{"ciphertext", "====", -EINVAL},
		{"ciphertext", "", -ENOKEY},
		{"protected", NULL, -EINVAL},
		{"protected", "", -EINVAL},
		{"protected", "e30", -ENOKEY},		      /* {} */
		{"protected", "W10", -EINVAL},		      /* [] */
		{"protected", "eyJhIjoxLCJhIjoxfQ", -EINVAL}, /* a name twice */
		{"encrypted_key", NULL, -ENOKEY},
		{"encrypted_key", "", -ENOKEY},
		{"aad", NULL, -EINVAL},
		{"aad", "eA", -ENOKEY}, /* was sealed without */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *j = sealed_for(ec);

		if (bad[i].value)
			set(j, bad[i].member, bad[i].value);
		else
			(void)json_object_set_new(j, bad[i].member, json_integer(5));
		cr_assert_eq(open_json(j, ec), bad[i].code, "%s = %s", bad[i].member,
			     bad[i].value ? bad[i].value : "5");
		json_decref(j);
	}
}

/* One recipient of the general serialisation. */
static json_t *recipient(json_t *header, const char *encrypted_key)
{
	json_t *r = json_object();

	if (header)
		(void)json_object_set_new(r, "header", header);
	(void)json_object_set_new(r, "encrypted_key", json_string(encrypted_key));
	return r;
}

Test(jwe, general_serialisation)
{
	json_t *j = sealed_for(ec), *list = json_array();
	const char *mine = json_string_value(json_object_get(j, "encrypted_key"));

	(void)json_array_append_new(list, json_integer(5));
	(void)json_array_append_new(list, recipient(NULL, "AAAA"));
	(void)json_array_append_new(list, recipient(NULL, mine));
	(void)json_object_set(j, "recipients", list);
	cr_assert_eq(open_json(j, ec), 0, "go-jose leaves encrypted_key beside the list");
	(void)json_object_del(j, "encrypted_key");
	cr_assert_eq(open_json(j, ec), 0);
	(void)json_object_set_new(j, "header", json_object());
	cr_assert_eq(open_json(j, ec), -EINVAL, "header belongs to the flattened form");
	(void)json_object_del(j, "header");
	while (json_array_size(list) < JWE_MAX_RECIPIENTS)
		(void)json_array_append_new(list, json_integer(5));
	cr_assert_eq(open_json(j, ec), 0);
	(void)json_array_append_new(list, json_integer(5));
	cr_assert_eq(open_json(j, ec), -EINVAL, "too many recipients");
	(void)json_array_clear(list);
	cr_assert_eq(open_json(j, ec), -ENOKEY, "no recipient");
	(void)json_object_set_new(j, "recipients", json_object());
	cr_assert_eq(open_json(j, ec), -EINVAL, "no list");
	json_decref(list);
	json_decref(j);
}

/* A JWE for `rsa` under headers of the test's choice, everything else right. NULL: no such member. */
struct shape {
	const char *protected, *unprotected, *header, *aad;
	const char *hash;
};

static json_t *shaped(const struct shape *s)
{
	cleanup_buf struct buf aad = {.max = 4096}, text = {.max = 4096};
	uint8_t wrapped[512], box[sizeof(plain) - 1 + AEAD_TAG_SIZE];
	const uint8_t iv[AEAD_NONCE_SIZE] = {1};
	size_t n = sizeof(wrapped), size = sizeof(plain) - 1;
	struct secret cek;
	json_t *j = json_object();
	struct aead *a;

	cr_assert_eq(secret_random(&cek), 0);
	cr_assert_eq(jwa_rsa_wrap(wrapped, &n, &cek, rsa, s->hash), 0);
	if (s->protected)
		base64_encode(&aad, BASE64_URL, s->protected, strlen(s->protected));
	if (s->protected)
		(void)json_object_set_new(j, "protected", json_stringn((const char *)aad.data, aad.size));
	if (s->aad) {
		set(j, "aad", s->aad);
		buf_u8(&aad, '.');
		buf_put(&aad, s->aad, strlen(s->aad));
	}
	if (s->unprotected)
		(void)json_object_set_new(j, "unprotected", json_loads(s->unprotected, 0, NULL));
	if (s->header)
		(void)json_object_set_new(j, "header", json_loads(s->header, 0, NULL));
	cr_assert_eq(aead_new(&a), 0);
	cr_assert_eq(aead_seal_with(a, box, (const uint8_t *)plain, size, &cek, iv, aad.data, aad.size), 0);
	aead_free(a);
	base64_encode(&text, BASE64_URL, wrapped, n);
	(void)json_object_set_new(j, "encrypted_key", json_stringn((const char *)text.data, text.size));
	buf_deinit(&text);
	base64_encode(&text, BASE64_URL, iv, sizeof(iv));
	(void)json_object_set_new(j, "iv", json_stringn((const char *)text.data, text.size));
	buf_deinit(&text);
	base64_encode(&text, BASE64_URL, box, size);
	(void)json_object_set_new(j, "ciphertext", json_stringn((const char *)text.data, text.size));
	buf_deinit(&text);
	base64_encode(&text, BASE64_URL, box + size, AEAD_TAG_SIZE);
	(void)json_object_set_new(j, "tag", json_stringn((const char *)text.data, text.size));
	return j;
}

#define ALG "\"alg\":\"RSA-OAEP\""
#define ENC "\"enc\":\"A256GCM\""

Test(jwe, headers_may_stand_in_three_places)
{
	static const struct shape good[] = {
		{"{" ALG "," ENC "}", NULL, NULL, NULL, "SHA1"},
		{"{" ENC "}", "{" ALG "}", NULL, NULL, "SHA1"},
		{"{" ENC "}", NULL, "{" ALG "}", NULL, "SHA1"},
		{NULL, "{" ENC "}", "{" ALG "}", NULL, "SHA1"},
		{"{" ALG "," ENC ",\"kid\":\"x\"}", NULL, NULL, "YWFk", "SHA1"},
		{"{\"alg\":\"RSA-OAEP-256\"," ENC "}", NULL, NULL, NULL, "SHA256"},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		json_t *j = shaped(&good[i]);

		cr_assert_eq(open_json(j, rsa), 0, "shape %zu", i);
		json_decref(j);
	}
}

Test(jwe, refuses_what_it_does_not_implement)
{
	static const struct shape bad[] = {
		{"{" ALG "}", NULL, NULL, NULL, "SHA1"},
		{"{" ENC "}", NULL, NULL, NULL, "SHA1"},
		{"{" ALG ",\"enc\":\"A128GCM\"}", NULL, NULL, NULL, "SHA1"},
		{"{" ALG ",\"enc\":\"A256CBC-HS512\"}", NULL, NULL, NULL, "SHA1"},
		{"{" ALG ",\"enc\":5}", NULL, NULL, NULL, "SHA1"},
		{"{\"alg\":\"RSA1_5\"," ENC "}", NULL, NULL, NULL, "SHA1"},
		{"{\"alg\":\"dir\"," ENC "}", NULL, NULL, NULL, "SHA1"},
		{"{\"alg\":\"ECDH-ES+A256KW\"," ENC "}", NULL, NULL, NULL, "SHA1"},
		{"{\"alg\":\"RSA-OAEP-256\"," ENC "}", NULL, NULL, NULL, "SHA1"}, /* says another hash */
		{"{" ALG "," ENC ",\"zip\":\"DEF\"}", NULL, NULL, NULL, "SHA1"},
		{"{" ALG "," ENC ",\"crit\":[\"exp\"],\"exp\":1}", NULL, NULL, NULL, "SHA1"},
		{"{" ALG "," ENC "}", "{\"zip\":\"DEF\"}", NULL, NULL, "SHA1"},
		{"{" ALG "," ENC "}", "{" ALG "}", NULL, NULL, "SHA1"}, /* a name in two places */
		{"{" ALG "," ENC "}", NULL, "{" ENC "}", NULL, "SHA1"},
		{"{" ALG "," ENC "}", NULL, "{\"zip\":\"DEF\"}", NULL, "SHA1"},
		{"{" ALG "," ENC "}", NULL, "{\"crit\":[\"exp\"],\"exp\":1}", NULL, "SHA1"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *j = shaped(&bad[i]);

		cr_assert_eq(open_json(j, rsa), -ENOKEY, "shape %zu", i);
		json_decref(j);
	}
}

/* The flattened JWE for `ec` with its epk replaced. */
static int open_with_epk(const char *epk)
{
	static const char before[] = "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":";
	json_t *j = sealed_for(ec);
	cleanup_buf struct buf header = {.max = 4096}, text = {.max = 4096};
	int r;

	buf_put(&header, before, sizeof(before) - 1);
	buf_put(&header, epk, strlen(epk));
	buf_u8(&header, '}');
	base64_encode(&text, BASE64_URL, header.data, header.size);
	(void)json_object_set_new(j, "protected", json_stringn((const char *)text.data, text.size));
	r = open_json(j, ec);
	json_decref(j);
	return r;
}

Test(jwe, a_party_in_two_headers_is_ambiguous)
{
	static const char *const names[] = {"apu", "apv"};

	for (int i = 0; i < 2; i++) {
		json_t *j = sealed_for(ec), *once = json_pack("{s:s}", names[i], "QWxpY2U");

		(void)json_object_set(j, "unprotected", once);
		cr_assert_eq(open_json(j, ec), -ENOKEY, "sealed without");
		(void)json_object_set(j, "header", once);
		cr_assert_eq(open_json(j, ec), -ENOKEY);
		json_decref(once);
		json_decref(j);
	}
}

#define ZERO "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define GX "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY" /* the generator of P-256, SP 800-186 */
#define GY "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"

Test(jwe, ephemeral_point_must_be_a_point_of_our_curve)
{
	static const char *const bad[] = {
		"null",
		"5",
		"{}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" ZERO "\",\"y\":\"" ZERO "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GX "\"}", /* not on the curve */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GY "\",\"y\":\"" GX "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" GX "\",\"y\":\"" GY "\"}",
		"{\"kty\":\"OKP\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GY "\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA" GX "\",\"y\":\"" GY "\"}", /* one byte more */
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" GX "\",\"y\":\"" GY
		"\"}", /* a point, but not the one */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(open_with_epk(bad[i]), -ENOKEY, "%s", bad[i]);
}

Test(jwe, text_that_is_no_jwe)
{
	static const char *const bad[] = {
		"", "x", "{", "[]", "5", "null", "\"a\"", "{}", "{\"iv\":1,\"iv\":1}", "{}{}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(open_text(bad[i], ec), -EINVAL, "'%s'", bad[i]);
}
