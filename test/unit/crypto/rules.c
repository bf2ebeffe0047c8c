/* SPDX-License-Identifier: Apache-2.0
 * The rules that keep the cryptography sound, one test for each, through crypto/ as everybody uses it. The
 * code that cuts and seals has its own test of rule 2. */
#include "crypto/aead_internal.h"
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "proto/format/chunk_header.h"
#include "proto/format/format.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define ROOM 16384

static struct aead *a;
static struct secret prk;

static void set_up(void)
{
	const struct secret domain = {{0x42}};

	cr_assert_eq(aead_new(&a), 0);
	cr_assert_eq(kdf_prk(&prk, SALT_DOMAIN, &domain), 0);
}

static void tear_down(void)
{
	aead_free(a);
}

TestSuite(rules, .init = set_up, .fini = tear_down);

static void key_of(struct secret *key, const uint8_t *m, size_t n)
{
	struct digest d;

	cr_assert_eq(sha256(&d, m, n), 0);
	cr_assert_eq(kdf_chunk_key(key, &prk, n, &d), 0);
}

/* A message as publishers make it: header, zstd at `level` (0: raw), padding. Returns its size. */
static size_t message(uint8_t *m, const uint8_t *plain, size_t n, int level, size_t padding)
{
	struct chunk_header h = {CHUNK_CODEC_RAW, (uint32_t)n, (uint32_t)n};

	if (level) {
		size_t packed = ZSTD_compress(m + CHUNK_HEADER_SIZE, ROOM - CHUNK_HEADER_SIZE - padding,
					      plain, n, level);

		cr_assert_not(ZSTD_isError(packed));
		h.codec = CHUNK_CODEC_ZSTD;
		h.payload_size = (uint32_t)packed;
	} else {
		memcpy(m + CHUNK_HEADER_SIZE, plain, n);
	}
	chunk_header_encode(&h, m);
	memset(m + CHUNK_HEADER_SIZE + h.payload_size, 0, padding);
	return CHUNK_HEADER_SIZE + h.payload_size + padding;
}

/* Rule 1: an AAD with a position would give one (key, nonce) two tags, and with them the GCM hash key. So the
 * door has no parameter for it, and a chunk is the same bytes wherever it stands. */
Test(rules, rule_1_aad_is_constant_and_a_chunk_is_the_same_bytes_everywhere)
{
	static const uint8_t zero_nonce[AEAD_NONCE_SIZE];
	uint8_t m[ROOM], here[ROOM + AEAD_TAG_SIZE], there[ROOM + AEAD_TAG_SIZE];
	size_t n = message(m, (const uint8_t *)"the same file in two layers", 27, 0, 0);
	struct secret key;

	key_of(&key, m, n);
	cr_assert_eq(aead_seal(a, here, m, n, &key), 0);
	cr_assert_eq(aead_seal(a, there, m, n, &key), 0);
	cr_assert_arr_eq(here, there, n + AEAD_TAG_SIZE);
	cr_assert_eq(aead_seal_with(a, there, m, n, &key, zero_nonce, "cocoon/1 chunk", 14), 0);
	cr_assert_arr_eq(here, there, n + AEAD_TAG_SIZE, "FORMAT.md §6");
	cr_assert_eq(aead_seal_with(a, there, m, n, &key, zero_nonce, "cocoon/1 chunk", 15), 0);
	cr_assert_arr_neq(here, there, n + AEAD_TAG_SIZE, "the NUL is no part of it");
}

struct seen {
	struct secret key;
	struct digest m;
};

static int by_key(const void *x, const void *y)
{
	return memcmp(x, y, SECRET_SIZE);
}

/* Rule 2: the key comes from exactly the bytes that are sealed, so that two compressors never meet under one
 * key. */
Test(rules, rule_2_no_key_and_nonce_ever_meets_two_messages)
{
	enum { N_PLAIN = 2000, N_WAYS = 6 };
	static const struct {
		int level;
		size_t padding;
	} ways[N_WAYS] = {{1, 0}, {19, 0}, {0, 0}, {1, 32}, {19, 64}, {1, 0}};
	struct seen *seen = calloc((size_t)N_PLAIN * N_WAYS, sizeof(*seen));
	unsigned same_plain_other_bytes = 0;
	static uint8_t plain[4096], m[ROOM];
	size_t n_seen = 0;

	cr_assert_not_null(seen);
	for (unsigned i = 0; i < N_PLAIN; i++) {
		size_t n = 16 + i % 4000;

		/* text-like: repeats that levels find differently; every fifth plaintext stands twice */
		for (size_t k = 0; k < n; k++)
			plain[k] = (uint8_t)((size_t) "abcdefgh\n"[(k * (i / 5 % 7 + 1) + k / 13 * k) % 9] +
					     (i / 5 + k) % 3);
		for (unsigned w = 0; w < N_WAYS; w++) {
			size_t size = message(m, plain, n, ways[w].level, ways[w].padding);

			key_of(&seen[n_seen].key, m, size);
			cr_assert_eq(sha256(&seen[n_seen].m, m, size), 0);
			if (w == 1 && !digest_equal(&seen[n_seen].m, &seen[n_seen - 1].m))
				same_plain_other_bytes++;
			n_seen++;
		}
	}
	cr_assert_gt(same_plain_other_bytes, 100, "the two levels must differ for this to mean anything");
	qsort(seen, n_seen, sizeof(*seen), by_key);
	for (size_t i = 1; i < n_seen; i++)
		if (secret_equal(&seen[i].key, &seen[i - 1].key))
			cr_assert(digest_equal(&seen[i].m, &seen[i - 1].m), "one key, two messages");
	free(seen);
}

Test(rules, rule_2_a_byte_of_header_or_padding_changes_the_key)
{
	uint8_t m[ROOM];
	size_t n = message(m, (const uint8_t *)"payload", 7, 0, 9);
	struct secret key, other;

	key_of(&key, m, n);
	for (size_t i = 0; i < n; i++) {
		m[i] ^= 1;
		key_of(&other, m, n);
		cr_assert_not(secret_equal(&key, &other), "byte %zu", i);
		m[i] ^= 1;
	}
	key_of(&other, m, n - 1);
	cr_assert_not(secret_equal(&key, &other), "shorter padding");
}

/* Rule 3: one label for each purpose, none the beginning of another together with its NUL. The answers
 * themselves are frozen in test/vectors/derivations.json. */
Test(rules, rule_3_labels_are_distinct_and_unambiguous)
{
	static const char *const labels[] = {LABEL_CHUNK_KEY, LABEL_SALT, LABEL_ROOT_CHUNK, LABEL_COMMITMENT,
					     LABEL_CUT};
	static const char *const salts[] = {SALT_DOMAIN, SALT_META, SALT_IMAGE};
	const uint8_t suite[4] = {1, 0, 0, 0};
	uint8_t info[sizeof(LABEL_COMMITMENT) + 4], want[32], got[32];

	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++)
		for (size_t k = 0; k < i; k++)
			cr_assert_str_neq(labels[i], labels[k]);
	for (size_t i = 0; i < sizeof(salts) / sizeof(salts[0]); i++)
		for (size_t k = 0; k < i; k++)
			cr_assert_str_neq(salts[i], salts[k]);
	/* label ‖ 00 ‖ suite, as the format says */
	memcpy(info, LABEL_COMMITMENT, sizeof(LABEL_COMMITMENT));
	memcpy(info + sizeof(LABEL_COMMITMENT), suite, sizeof(suite));
	cr_assert_eq(hkdf_expand(want, 32, &prk, info, sizeof(info)), 0);
	cr_assert_eq(kdf_commitment(got, &prk), 0);
	cr_assert_arr_eq(got, want, 32);
}

/* Rule 4: the tag has 16 bytes and the nonce 12, and nobody can ask for others. */
Test(rules, rule_4_short_tags_do_not_open)
{
	uint8_t m[100] = {1}, sealed[sizeof(m) + AEAD_TAG_SIZE], out[sizeof(sealed)];
	struct secret key;

	key_of(&key, m, sizeof(m));
	cr_assert_eq(aead_seal(a, sealed, m, sizeof(m), &key), 0);
	for (size_t n = 0; n < sizeof(sealed); n++)
		cr_assert_eq(aead_open(a, out, sealed, n, &key), -EBADMSG, "cut to %zu bytes", n);
	cr_assert_eq(AEAD_TAG_SIZE, 16);
	cr_assert_eq(AEAD_NONCE_SIZE, 12);
}

/* Rule 5: where the tag is wrong no plaintext is left, wherever the flip was and wherever the output goes. */
Test(rules, rule_5_nothing_is_released_before_the_tag_is_right)
{
	uint8_t m[60], sealed[sizeof(m) + AEAD_TAG_SIZE], out[sizeof(sealed)];
	const uint8_t zero[sizeof(m)] = {0};
	struct secret key;

	memset(m, 'p', sizeof(m));
	key_of(&key, m, sizeof(m));
	for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
		cr_assert_eq(aead_seal(a, sealed, m, sizeof(m), &key), 0);
		sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(out, 0xee, sizeof(out));
		cr_assert_eq(aead_open(a, out, sealed, sizeof(sealed), &key), -EBADMSG, "bit %zu", bit);
		cr_assert_arr_eq(out, zero, sizeof(zero));
		cr_assert_eq(out[sizeof(m)], 0xee, "writes no more than the plaintext's place");
		cr_assert_eq(aead_open(a, sealed, sealed, sizeof(sealed), &key), -EBADMSG,
			     "in place, bit %zu", bit);
		cr_assert_arr_eq(sealed, zero, sizeof(zero));
	}
}

/* Rule 6: GCM does not commit to its key, so the image key has a commitment beside it: one value for each
 * key, and no key of a chunk can be read from it. */
Test(rules, rule_6_the_image_key_is_committed_to)
{
	uint8_t commitment[32], other[32];
	const struct secret key = {{1}}, close = {{2}};
	struct secret prk_key, prk_close;

	cr_assert_eq(kdf_prk(&prk_key, SALT_IMAGE, &key), 0);
	cr_assert_eq(kdf_prk(&prk_close, SALT_IMAGE, &close), 0);
	cr_assert_eq(kdf_commitment(commitment, &prk_key), 0);
	cr_assert_eq(kdf_commitment(other, &prk_key), 0);
	cr_assert_arr_eq(commitment, other, 32);
	cr_assert_eq(kdf_commitment(other, &prk_close), 0);
	cr_assert_arr_neq(commitment, other, 32);
	cr_assert_arr_neq(commitment, prk_key.bytes, 32);
	cr_assert_arr_neq(commitment, key.bytes, 32);
}
