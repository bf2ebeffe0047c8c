/* SPDX-License-Identifier: Apache-2.0
 * Opening one chunk: every refusal by its name, and that nothing of a refused chunk is left. */
#include "guestfs/chunk_open.h"
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "seal_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define PLAIN 8192u

static const struct secret key = {{9, 8, 7}};
static struct opener *opener;
static uint8_t text[PLAIN], frame[PLAIN];
static size_t frame_size;

static void set_up(void)
{
	for (size_t i = 0; i < PLAIN; i++)
		text[i] = (uint8_t)("cocoon"[i % 6] + (int)(i / 1000));
	frame_size = ZSTD_compress(frame, sizeof(frame), text, PLAIN, 3);
	cr_assert(!ZSTD_isError(frame_size));
	cr_assert_eq(opener_new(&opener), 0);
}

static void tear_down(void)
{
	opener_free(opener);
}

TestSuite(chunk_open, .init = set_up, .fini = tear_down, .timeout = 60);

/* A message that is sealed and stored. */
struct sample {
	uint8_t m[3 * PLAIN + 1000], stored[3 * PLAIN + 1016];
	size_t size; /* of m */
	struct chunk_entry entry;
};

static void begin(struct sample *s, uint8_t codec, uint32_t payload, uint32_t plain)
{
	memset(s, 0, sizeof(*s));
	s->m[0] = codec;
	put_le32(s->m + 4, payload);
	put_le32(s->m + 8, plain);
	s->size = 16;
}

static void add(struct sample *s, const void *p, size_t n)
{
	memcpy(s->m + s->size, p, n);
	s->size += n;
}

static void seal_sample(struct sample *s)
{
	seal_message(s->stored, s->m, s->size, key.bytes);
	s->entry.stored_size = (uint32_t)s->size + 16;
	cr_assert_eq(sha256(&s->entry.id, s->stored, s->size + 16), 0);
}

static int open_sample(const struct sample *s, uint32_t plain_size, size_t stored_size)
{
	uint8_t plain[PLAIN];
	uint32_t size = 0;
	struct err e = {""};
	struct chunk_expect x = {&s->entry, &key, plain_size, PLAIN};
	int r;

	memset(plain, 0, sizeof(plain));
	r = chunk_open(opener, plain, &size, &x, s->stored, stored_size, &e);
	if (r == 0) {
		cr_assert_eq(size, PLAIN);
		cr_assert_eq(memcmp(plain, text, PLAIN), 0);
	} else {
		cr_assert_eq(size, 0);
		for (size_t i = 0; i < PLAIN; i++)
			cr_assert_eq(plain[i], 0, "plaintext of a refused chunk is left");
	}
	return r;
}

static int open_now(struct sample *s)
{
	seal_sample(s);
	return open_sample(s, PLAIN, s->size + 16);
}

static struct sample s;

Test(chunk_open, opens_raw_compressed_and_padded)
{
	begin(&s, 0, PLAIN, PLAIN);
	add(&s, text, PLAIN);
	cr_assert_eq(open_now(&s), 0);
	begin(&s, 1, (uint32_t)frame_size, PLAIN);
	add(&s, frame, frame_size);
	cr_assert_eq(open_now(&s), 0);
	cr_assert_eq(open_sample(&s, 0, s.size + 16), 0); /* as the root chunk */
	s.size += 333;
	cr_assert_eq(open_now(&s), 0);
}

Test(chunk_open, every_flipped_bit_is_noticed)
{
	begin(&s, 1, (uint32_t)frame_size, PLAIN);
	add(&s, frame, frame_size);
	seal_sample(&s);
	for (size_t bit = 0; bit < (s.size + 16) * 8; bit++) {
		s.stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_eq(open_sample(&s, PLAIN, s.size + 16), -EBADMSG);
		/* with the id of what was flipped, as if the table were wrong, the tag still notices */
		cr_assert_eq(sha256(&s.entry.id, s.stored, s.size + 16), 0);
		cr_assert_eq(open_sample(&s, PLAIN, s.size + 16), -EBADMSG);
		s.stored[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_eq(sha256(&s.entry.id, s.stored, s.size + 16), 0);
	}
	cr_assert_eq(open_sample(&s, PLAIN, s.size + 16), 0);
}

Test(chunk_open, every_other_length_is_refused)
{
	begin(&s, 1, (uint32_t)frame_size, PLAIN);
	add(&s, frame, frame_size);
	seal_sample(&s);
	for (size_t n = 0; n < s.size + 20; n++)
		if (n != s.size + 16)
			cr_assert_eq(open_sample(&s, PLAIN, n), -EBADMSG);
	/* also when the table says so */
	for (size_t n = 0; n < s.size + 16; n++) {
		s.entry.stored_size = (uint32_t)n;
		cr_assert_eq(sha256(&s.entry.id, s.stored, n), 0);
		cr_assert_eq(open_sample(&s, PLAIN, n), -EBADMSG);
	}
}

Test(chunk_open, a_length_that_no_chunk_has_is_refused_before_it_is_read)
{
	static const size_t sizes[] = {0, MIN_STORED_SIZE - 1, MAX_STORED_SIZE + 1};
	static const uint8_t one;

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		const struct chunk_entry entry = {.stored_size = (uint32_t)sizes[k]};
		uint8_t plain[1];
		uint32_t size;

		cr_assert_eq(chunk_open(opener, plain, &size, &(struct chunk_expect){&entry, &key, 0, PLAIN},
					&one, sizes[k], NULL),
			     -EBADMSG, "%zu", sizes[k]);
	}
}

Test(chunk_open, another_key_is_refused)
{
	struct chunk_expect x = {&s.entry, &(struct secret){{1}}, PLAIN, PLAIN};
	uint8_t plain[PLAIN];
	uint32_t size;
	struct err e;

	begin(&s, 0, PLAIN, PLAIN);
	add(&s, text, PLAIN);
	seal_sample(&s);
	cr_assert_eq(chunk_open(opener, plain, &size, &x, s.stored, s.size + 16, &e), -EBADMSG);
}

Test(chunk_open, refuses_what_breaks_the_header)
{
	static const struct {
		const char *what;
		size_t at;
		uint32_t value;
	} cases[] = {
		{"C1 codec", 0, 2},
		{"C2 reserved", 0, 0x101},
		{"C2 reserved end", 12, 1},
		{"C3 no payload", 4, 0},
		{"C3 payload past the end", 4, PLAIN + 1},
		{"C3 raw of another size", 4, PLAIN - 1},
		{"C4 other plaintext", 8, PLAIN - 1},
		{"C4 no plaintext", 8, 0},
		{"C4 huge plaintext", 8, UINT32_MAX},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		begin(&s, 0, PLAIN, PLAIN);
		add(&s, text, PLAIN);
		put_le32(s.m + cases[k].at, cases[k].value);
		cr_assert_eq(open_now(&s), -EUCLEAN, "%s", cases[k].what);
	}
	begin(&s, 0, PLAIN, PLAIN);
	add(&s, text, PLAIN);
	add(&s, "\1", 1);
	cr_assert_eq(open_now(&s), -EUCLEAN, "C6 padding");
	begin(&s, 0, PLAIN / 2, PLAIN / 2);
	add(&s, text, PLAIN / 2);
	cr_assert_eq(open_now(&s), -EUCLEAN, "C4 the map says otherwise");
}

Test(chunk_open, refuses_what_is_not_one_frame)
{
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 's', 'k', 'i', 'p'};
	struct {
		const char *what;
		const void *first, *second;
		size_t first_size, second_size;
		uint32_t plain;
	} cases[] = {
		{"two frames", frame, frame, frame_size, frame_size, PLAIN},
		{"skippable behind", frame, skippable, frame_size, sizeof(skippable), PLAIN},
		{"skippable before", skippable, frame, sizeof(skippable), frame_size, PLAIN},
		{"only skippable", skippable, NULL, sizeof(skippable), 0, PLAIN},
		{"cut", frame, NULL, frame_size - 1, 0, PLAIN},
		{"a byte behind", frame, "", frame_size, 1, PLAIN},
		{"no zstd", text, NULL, 100, 0, PLAIN},
		{"three bytes", frame, NULL, 3, 0, PLAIN},
	};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		begin(&s, 1, (uint32_t)(cases[k].first_size + cases[k].second_size), cases[k].plain);
		add(&s, cases[k].first, cases[k].first_size);
		if (cases[k].second)
			add(&s, cases[k].second, cases[k].second_size);
		cr_assert_eq(open_now(&s), -EUCLEAN, "%s", cases[k].what);
	}
}

/* A frame of `n` plaintext bytes in a chunk that promises PLAIN. */
static int open_frame_of(size_t n, bool say_size, int window_log, const void *dictionary,
			 size_t dictionary_size)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	uint8_t *big = calloc(1, n), *out = malloc(ZSTD_compressBound(n));
	size_t size;
	int r;

	memcpy(big, text, n < PLAIN ? n : PLAIN);
	(void)ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, say_size);
	if (window_log)
		(void)ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	if (dictionary)
		(void)ZSTD_CCtx_refPrefix(c, dictionary, dictionary_size);
	size = ZSTD_compress2(c, out, ZSTD_compressBound(n), big, n);
	cr_assert(!ZSTD_isError(size) && size < 3 * PLAIN);
	begin(&s, 1, (uint32_t)size, PLAIN);
	add(&s, out, size);
	r = open_now(&s);
	free(out);
	free(big);
	ZSTD_freeCCtx(c);
	return r;
}

Test(chunk_open, refuses_bombs_and_dictionaries)
{
	cr_assert_eq(open_frame_of(PLAIN, true, 0, NULL, 0), 0);
	cr_assert_eq(open_frame_of(PLAIN, false, 0, NULL, 0), 0);
	cr_assert_eq(open_frame_of(64 << 20, true, 0, NULL, 0), -EUCLEAN);
	cr_assert_eq(open_frame_of(64 << 20, false, 27, NULL, 0), -EUCLEAN);
	cr_assert_eq(open_frame_of(PLAIN + 1, false, 0, NULL, 0), -EUCLEAN);
	cr_assert_eq(open_frame_of(PLAIN - 1, false, 0, NULL, 0), -EUCLEAN);
	cr_assert_eq(open_frame_of(PLAIN, true, 0, text, PLAIN), -EUCLEAN);
}
