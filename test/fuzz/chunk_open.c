/* SPDX-License-Identifier: Apache-2.0
 * A chunk's message: plaintext size as the map has it (LE32), then header, payload and padding, which are
 * sealed here with a key as a careless publisher would. */
#include "guestfs/chunk_open.h"
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct opener *opener;
	static struct aead *aead;
	static const struct secret key = {{1, 2, 3}};
	struct chunk_entry entry = {.stored_size = (uint32_t)size - 4 + AEAD_TAG_SIZE};
	struct chunk_expect expect = {.entry = &entry, .key = &key, .max_chunk_size = MAX_CHUNK_SIZE};
	uint8_t *stored, *plain;
	uint32_t got = 0;
	struct err e;

	if (!opener)
		fuzz_assert(opener_new(&opener) == 0 && aead_new(&aead) == 0);
	if (size < 4 || size > MAX_STORED_SIZE)
		return 0;
	expect.plain_size = get_le32(data) % (MAX_CHUNK_SIZE + 1); /* 0: the root chunk */
	stored = malloc(size - 4 + AEAD_TAG_SIZE);
	plain = malloc(expect.plain_size ? expect.plain_size : MAX_CHUNK_SIZE);
	fuzz_assert(stored && plain);
	fuzz_assert(aead_seal(aead, stored, data + 4, size - 4, &key) == 0);
	fuzz_assert(sha256(&entry.id, stored, entry.stored_size) == 0);
	if (chunk_open(opener, plain, &got, &expect, stored, entry.stored_size, &e) == 0) {
		fuzz_assert(got >= 1 && got <= MAX_CHUNK_SIZE);
		fuzz_assert(expect.plain_size == 0 || got == expect.plain_size);
	}
	free(plain);
	free(stored);
	return 0;
}
