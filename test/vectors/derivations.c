/* SPDX-License-Identifier: Apache-2.0
 * Every derivation of FORMAT.md §7 against answers that another implementation gave once for all. */
#include "crypto/kdf.h"
#include "proto/base/bytes.h"
#include "proto/format/descriptor.h"
#include "proto/format/format.h"
#include "test/vectors/vector_file.h"

static json_t *answers;

static void load(void)
{
	answers = vector_file("derivations.json");
}

static void unload(void)
{
	json_decref(answers);
}

TestSuite(derivations, .init = load, .fini = unload);

static struct secret secret_of(const json_t *object, const char *name)
{
	struct secret s;

	cr_assert_eq(vector_hex(object, name, s.bytes, SECRET_SIZE), SECRET_SIZE);
	return s;
}

static struct secret prk_of(const char *name)
{
	return secret_of(json_object_get(answers, "prk"), name);
}

static void check_prk(const char *name, const char *salt)
{
	struct secret secret = secret_of(json_object_get(answers, "secrets"), name);
	struct secret want = prk_of(name), got;

	cr_assert_eq(kdf_prk(&got, salt, &secret), 0);
	cr_assert(secret_equal(&got, &want), "%s", name);
}

Test(derivations, prks)
{
	check_prk("domain", SALT_DOMAIN);
	check_prk("meta", SALT_META);
	check_prk("image", SALT_IMAGE);
}

Test(derivations, chunk_keys)
{
	struct secret domain = prk_of("domain"), meta = prk_of("meta");
	json_t *chunk;
	size_t i;

	cr_assert_gt(json_array_size(json_object_get(answers, "chunks")), 0);
	json_array_foreach(json_object_get(answers, "chunks"), i, chunk)
	{
		uint64_t size = (uint64_t)vector_number(chunk, "size");
		struct secret got, want = secret_of(chunk, "domain_key");
		struct digest d;

		(void)vector_hex(chunk, "digest", d.bytes, DIGEST_SIZE);
		cr_assert_eq(kdf_chunk_key(&got, &domain, size, &d), 0);
		cr_assert(secret_equal(&got, &want), "chunk %zu", i);
		want = secret_of(chunk, "meta_key");
		cr_assert_eq(kdf_chunk_key(&got, &meta, size, &d), 0);
		cr_assert(secret_equal(&got, &want), "chunk %zu", i);
	}
}

Test(derivations, root_key_covers_all_of_the_descriptor_but_the_root_hash)
{
	struct secret prk = prk_of("image"), want = secret_of(answers, "root_key"), got;
	uint8_t raw[DESCRIPTOR_SIZE];

	cr_assert_eq(vector_hex(answers, "descriptor", raw, sizeof(raw)), sizeof(raw));
	cr_assert_eq(kdf_root_key(&got, &prk, raw), 0);
	cr_assert(secret_equal(&got, &want));
	for (size_t i = 0; i < sizeof(raw); i++) {
		bool root_hash =
			i >= DESCRIPTOR_ROOT_HASH_OFFSET && i < DESCRIPTOR_ROOT_HASH_OFFSET + DIGEST_SIZE;

		raw[i] ^= 1;
		cr_assert_eq(kdf_root_key(&got, &prk, raw), 0);
		cr_assert_eq(secret_equal(&got, &want), root_hash, "byte %zu", i);
		raw[i] ^= 1;
	}
}

Test(derivations, salt_and_commitment)
{
	struct secret prk = prk_of("image"), random = secret_of(answers, "random");
	struct secret want = secret_of(answers, "salt");
	uint8_t got[32];
	struct digest d;

	(void)vector_hex(answers, "m_root_digest", d.bytes, DIGEST_SIZE);
	cr_assert_eq(kdf_salt(got, &prk, &random, &d), 0);
	cr_assert_arr_eq(got, want.bytes, 32);
	want = secret_of(answers, "commitment");
	cr_assert_eq(kdf_commitment(got, &prk), 0);
	cr_assert_arr_eq(got, want.bytes, 32);
}

Test(derivations, cut_table)
{
	struct secret prk = prk_of("domain");
	uint8_t raw[2048];
	uint64_t table[256];

	cr_assert_eq(vector_hex(answers, "cut", raw, sizeof(raw)), sizeof(raw));
	cr_assert_eq(kdf_cut_table(table, &prk), 0);
	for (size_t i = 0; i < 256; i++)
		cr_assert_eq(table[i], get_le64(raw + 8 * i), "entry %zu", i);
}
