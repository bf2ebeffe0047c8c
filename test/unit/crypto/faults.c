/* SPDX-License-Identifier: Apache-2.0
 * Every call that crypto/ makes to OpenSSL, to the JSON library and to malloc fails once. Each time there is
 * an error, nothing of a secret is left in the output, and the next try works. */
#include "crypto/aead_internal.h"
#include "crypto/jwa.h"
#include "crypto/jwe.h"
#include "crypto/kdf.h"
#include "crypto/key_provider.h"
#include "crypto/keyfile.h"
#include "crypto/keypair.h"
#include "crypto/keywrap.h"
#include "crypto/merkle.h"
#include "crypto/private_options.h"
#include "crypto/sha256.h"
#include "proto/format/descriptor.h"
#include "test/unit/fault.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/stat.h>

static const struct secret key = {{1, 2, 3}};
static const struct digest image = {{4, 5, 6}};
static const uint8_t message[100] = {7, 8, 9};

/* An output that a failure must not touch. */
#define UNTOUCHED 0xee

static bool all(uint8_t value, const void *p, size_t n)
{
	const uint8_t *at = p;

	for (size_t i = 0; i < n; i++)
		if (at[i] != value)
			return false;
	return true;
}

Test(faults, a_failed_fetch_is_tried_again)
{
	struct digest d;

	fault_arm(2);
	cr_assert_eq(sha256(&d, "abc", 3), -ENOMEM);
	cr_assert(fault_fired());
	cr_assert_str_eq(fault_name(), "EVP_MD_fetch");
	cr_assert_eq(sha256(&d, "abc", 3), 0);
}

Test(faults, hashing)
{
	static const uint8_t want[4] = {0xba, 0x78, 0x16, 0xbf};
	struct digest d;
	int r;

	each_fault (r, sha256(&d, "abc", 3))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert_arr_eq(d.bytes, want, sizeof(want));
	each_fault (r, sha256_pair(&d, "a", 1, "bc", 2))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert_arr_eq(d.bytes, want, sizeof(want));
}

Test(faults, hash_tree)
{
	static uint8_t data[2 * MERKLE_BLOCK], hash[MERKLE_BLOCK], raw[VERITY_SUPERBLOCK_SIZE];
	static const uint8_t salt[MERKLE_SALT_SIZE] = {1};
	struct merkle_shape shape;
	struct digest root;
	int r;

	cr_assert_eq(merkle_shape_init(&shape, 2), 0);
	each_fault (r, merkle_build(&shape, data, hash, salt, &root))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, merkle_check(hash, &root, salt))
		cr_assert_eq(r, -ENOMEM, "%s: neither right nor wrong", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, verity_superblock_encode(raw, 2, salt))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
}

Test(faults, derivations)
{
	const uint8_t descriptor[DESCRIPTOR_SIZE] = {0};
	uint64_t cut[256];
	struct secret out;
	int r;

	memset(&out, UNTOUCHED, sizeof(out));
	memset(cut, UNTOUCHED, sizeof(cut));
	each_fault (r, hkdf_extract(&out, "salt", 4, message, sizeof(message)))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, kdf_chunk_key(&out, &key, 5, &image))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, kdf_salt(out.bytes, &key, &key, &image))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, kdf_root_key(&out, &key, descriptor))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, kdf_commitment(out.bytes, &key))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, kdf_cut_table(cut, &key))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, cut, sizeof(cut)), "%s", fault_name());
	cr_assert_eq(r, 0);
}

Test(faults, random_secret)
{
	struct secret s;
	int r;

	each_fault (r, secret_random(&s))
		cr_assert_eq(r, -EIO);
	cr_assert_eq(r, 0);
}

Test(faults, sealing_and_opening)
{
	uint8_t sealed[sizeof(message) + AEAD_TAG_SIZE], out[sizeof(message)];
	struct aead *a = NULL;
	int r;

	each_fault (r, aead_new(&a))
		cr_assert(r == -ENOMEM && !a, "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, aead_seal(a, sealed, message, sizeof(message), &key))
		cr_assert(r == -ENOMEM && all(0, sealed, sizeof(sealed)), "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, (memset(out, UNTOUCHED, sizeof(out)), aead_open(a, out, sealed, sizeof(sealed), &key)))
		cr_assert(r == -ENOMEM && all(0, out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert_arr_eq(out, message, sizeof(message));
	aead_free(a);
}

Test(faults, wrapping_a_content_key)
{
	EVP_PKEY *rsa = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256"), *peer = NULL;
	const struct jwa_curve *curve = jwa_curve_of(ec);
	uint8_t wrapped[JWA_MAX_RSA_BYTES], aes[JWA_WRAPPED_SIZE];
	uint8_t x[JWA_MAX_COORDINATE], y[JWA_MAX_COORDINATE];
	size_t n = sizeof(wrapped);
	struct secret out;
	int r;

	each_fault (r, jwa_rsa_wrap(wrapped, &n, &key, rsa, "SHA256"))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, jwa_aes_wrap(aes, &key, &key))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, jwa_rsa_unwrap(&out, wrapped, n, rsa, "SHA256"))
		cr_assert(r == -ENOMEM && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert(secret_equal(&out, &key));
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, jwa_aes_unwrap(&out, aes, sizeof(aes), &key))
		cr_assert(r < 0 && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert(secret_equal(&out, &key));
	each_fault (r, jwa_point_encode(ec, curve, x, y))
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
	cr_assert_eq(r, 0);
	each_fault (r, jwa_point_decode(&peer, curve, x, y))
		cr_assert(r == -ENOMEM && !peer, "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, jwa_ecdh_es(&out, ec, peer, (struct jwa_party){message, 3}, (struct jwa_party){0}))
		cr_assert(r < 0 && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(peer);
}

static int seal_anew(struct buf *to, EVP_PKEY *recipient)
{
	buf_deinit(to);
	return jwe_seal(to, message, sizeof(message), recipient);
}

static int open_anew(struct buf *plain, const struct buf *jwe, EVP_PKEY *recipient)
{
	buf_deinit(plain);
	return jwe_open(plain, (const char *)jwe->data, jwe->size, recipient, NULL);
}

Test(faults, jwe)
{
	EVP_PKEY *recipients[] = {EVP_RSA_gen(2048), EVP_EC_gen("P-521")};

	for (int i = 0; i < 2; i++) {
		cleanup_buf struct buf jwe = {.max = JWE_MAX_SIZE};
		cleanup_buf struct buf plain = {.max = JWE_MAX_SIZE, .secret = true};
		int r;

		each_fault (r, seal_anew(&jwe, recipients[i]))
			cr_assert_lt(r, 0, "%s", fault_name());
		cr_assert_eq(r, 0);
		each_fault (r, open_anew(&plain, &jwe, recipients[i]))
			cr_assert(r < 0 && plain.size == 0, "%s", fault_name());
		cr_assert_eq(r, 0);
		cr_assert_eq(plain.size, sizeof(message));
		EVP_PKEY_free(recipients[i]);
	}
}

/* A new pair each time, in place of the one before. */
static int pair_anew(void)
{
	(void)unlink(scratch_path("k"));
	(void)unlink(scratch_path("k.pub"));
	return keypair_write(scratch_path("k"), scratch_path("k.pub"), NULL);
}

Test(faults, key_pair_is_both_or_none, .init = scratch_open, .fini = scratch_close)
{
	int r;

	each_fault (r, pair_anew()) {
		cr_assert_eq(r, -ENOMEM, "%s", fault_name());
		cr_assert_neq(access(scratch_path("k"), F_OK), 0);
		cr_assert_neq(access(scratch_path("k.pub"), F_OK), 0);
	}
	cr_assert_eq(r, 0);
}

static int wrap_anew(struct buf *to)
{
	buf_deinit(to);
	return keywrap_wrap(to, &key, &image, scratch_path("k.pub"), NULL);
}

static int wrap_unwrap(struct secret *out, const struct buf *b)
{
	return keywrap_unwrap(out, (const char *)b->data, &image, scratch_path("k"), NULL);
}

Test(faults, wrapped_image_key, .init = scratch_open, .fini = scratch_close)
{
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION};
	struct secret out;
	int r;

	cr_assert_eq(pair_anew(), 0);
	each_fault (r, wrap_anew(&b)) {
		cr_assert_lt(r, 0, "%s", fault_name());
		cr_assert_eq(ERR_peek_error(), 0, "%s", fault_name());
	}
	cr_assert_eq(r, 0);
	buf_u8(&b, '\0');
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, wrap_unwrap(&out, &b)) {
		cr_assert(r < 0 && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
		cr_assert_eq(ERR_peek_error(), 0, "%s", fault_name());
	}
	cr_assert_eq(r, 0);
	cr_assert(secret_equal(&out, &key));
}

/* A provider that wraps nothing: the options that it is to wrap are the packet. */
static int keep_nothing(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	const char *in = (const char *)question->data;
	const char *options = memmem(in, question->size, "\"optsdata\":\"", 12);

	(void)arg;
	(void)e;
	buf_put(answer, "{\"keywrapresults\":{\"annotation\":\"", 33);
	buf_put(answer, options + 12, strcspn(options + 12, "\"") + 1);
	buf_put(answer, "}}", 2);
	return buf_failed(answer) ? -ENOMEM : 0;
}

/* Unwraps it, as a list. */
static int give_back(void *arg, const struct buf *question, struct buf *answer, struct err *e)
{
	const struct buf *options = arg;

	(void)question;
	(void)e;
	buf_put(answer, "{\"keyunwrapresults\":{\"optsdata\":[", 33);
	for (size_t i = 0; i < options->size; i++) {
		char text[8];

		buf_put(answer, text,
			(size_t)snprintf(text, sizeof(text), i ? ",%u" : "%u", options->data[i]));
	}
	buf_put(answer, "]}}", 3);
	return buf_failed(answer) ? -ENOMEM : 0;
}

static int provider_wrap_anew(struct buf *to)
{
	buf_deinit(to);
	return key_provider_wrap(to, &key, &image, "keyid=x", keep_nothing, NULL, NULL);
}

Test(faults, image_key_of_a_key_provider)
{
	cleanup_buf struct buf b = {.max = KEYWRAP_MAX_ANNOTATION}, options = {.max = PRIVATE_OPTIONS_MAX};
	struct secret out;
	int r;

	each_fault (r, provider_wrap_anew(&b))
		cr_assert_lt(r, 0, "%s", fault_name());
	cr_assert_eq(r, 0);
	private_options_encode(&options, &key, &image);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, key_provider_unwrap(&out, "e30=", &image, give_back, &options, NULL))
		cr_assert(r < 0 && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert(secret_equal(&out, &key));
}

static int write_anew(void)
{
	(void)unlink(scratch_path("k"));
	return keyfile_write(&key, scratch_path("k"), KEYFILE_IMAGE, NULL);
}

Test(faults, key_file, .init = scratch_open, .fini = scratch_close)
{
	struct secret out;
	int r;

	each_fault (r, write_anew())
		cr_assert(r < 0 && access(scratch_path("k"), F_OK) != 0, "%s", fault_name());
	cr_assert_eq(r, 0);
	memset(&out, UNTOUCHED, sizeof(out));
	each_fault (r, keyfile_read(&out, scratch_path("k"), KEYFILE_IMAGE, NULL))
		cr_assert(r < 0 && all(UNTOUCHED, &out, sizeof(out)), "%s", fault_name());
	cr_assert_eq(r, 0);
	cr_assert(secret_equal(&out, &key));
}
