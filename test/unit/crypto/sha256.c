/* SPDX-License-Identifier: Apache-2.0
 * SHA-256: FIPS 180-4's examples, streaming against one-shot, and contexts that are released on every way. */
#include "crypto/sha256.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static const char *text_of(const struct digest *d)
{
	static char text[DIGEST_TEXT_SIZE];

	return digest_text(d, text);
}

Test(sha256, known_answers)
{
	struct digest d;

	cr_assert_eq(sha256(&d, "", 0), 0);
	cr_assert_str_eq(text_of(&d),
			 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	cr_assert_eq(sha256(&d, "abc", 3), 0);
	cr_assert_str_eq(text_of(&d),
			 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

Test(sha256, pieces_and_pairs_are_the_whole)
{
	uint8_t data[1000];
	struct digest whole, d;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31);
	cr_assert_eq(sha256(&whole, data, sizeof(data)), 0);
	for (size_t cut = 0; cut <= sizeof(data); cut += 37) {
		struct sha256 s;

		cr_assert_eq(sha256_pair(&d, data, cut, data + cut, sizeof(data) - cut), 0);
		cr_assert(digest_equal(&d, &whole));
		cr_assert_eq(sha256_init(&s), 0);
		cr_assert_eq(sha256_update(&s, data, cut), 0);
		cr_assert_eq(sha256_update(&s, data + cut, sizeof(data) - cut), 0);
		cr_assert_eq(sha256_final(&s, &d), 0);
		cr_assert(digest_equal(&d, &whole));
		sha256_deinit(&s);
	}
}

Test(sha256, may_be_dropped_half_way)
{
	struct sha256 s;

	cr_assert_eq(sha256_init(&s), 0);
	cr_assert_eq(sha256_update(&s, "x", 1), 0);
	sha256_deinit(&s);
	sha256_deinit(&s);
}

static void *hash_many(void *arg)
{
	struct digest d, want;

	(void)sha256(&want, arg, 3);
	for (int i = 0; i < 1000; i++) {
		if (sha256(&d, arg, 3) < 0 || !digest_equal(&d, &want))
			return arg;
	}
	return NULL;
}

Test(sha256, threads_may_be_first_together)
{
	static char words[4][4] = {"one", "two", "six", "ten"};
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, hash_many, words[i]), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong = NULL;

		(void)pthread_join(t[i], &wrong);
		cr_assert_null(wrong);
	}
}
