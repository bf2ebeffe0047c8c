/* SPDX-License-Identifier: Apache-2.0
 * A plaintext for the image reader's tests, and how a sealed one is opened and read. */
#ifndef COCOON_TEST_IMAGE_WORLD_H
#define COCOON_TEST_IMAGE_WORLD_H

#include "guestfs/image.h"
#include "seal_fixture.h"
#include "source_memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (3u << 20)

static uint8_t *plain;

/* Half noise, half text, and a repeated stretch: raw, compressed and shared chunks. */
static inline void make_plain(void)
{
	uint32_t x = 12345;

	plain = malloc(SIZE);
	cr_assert(plain);
	for (size_t i = 0; i < SIZE; i++) {
		x = x * 1664525 + 1013904223;
		plain[i] = (i >> 16 & 1) ? (uint8_t)(x >> 24)
					 : (uint8_t)("cocoon spins "[i % 13] + (int)(i >> 18));
	}
	memcpy(plain + (1u << 20), plain + (1u << 19), 1u << 19);
}

static inline void drop_plain(void)
{
	free(plain);
}

static inline int try_open(struct image **out, struct source_memory *s, struct err *e)
{
	uint8_t key[32];

	memcpy(key, s->image->image_key, sizeof(key));
	return image_open(out, &s->source,
			  &(struct image_options){.find_key = find_given_key, .find_key_arg = key}, e);
}

static inline struct image *must_open(struct source_memory *s)
{
	struct err e = {""};
	struct image *i = NULL;
	int r = try_open(&i, s, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
	return i;
}

/* The same bytes as a view, where it is not too large. */
static inline void check_view(struct image *i, size_t n, size_t at)
{
	struct image_view v;
	struct err e = {""};
	int r = image_view(i, &v, n, at, &e);
	size_t done = 0;

	cr_assert(r == 0 || r == VIEW_TOO_LARGE, "at %zu: %d: %s", at, r, e.text);
	if (r != 0)
		return;
	for (size_t k = 0; k < v.n_parts; done += v.parts[k++].iov_len)
		cr_assert_eq(memcmp(v.parts[k].iov_base, plain + at + done, v.parts[k].iov_len), 0);
	cr_assert_eq(done, n);
	image_view_release(i, &v);
}

static inline void check_all(struct image *i, size_t step)
{
	uint8_t *got = malloc(step);
	struct err e = {""};

	for (size_t at = 0; at < SIZE; at += step) {
		size_t n = SIZE - at < step ? SIZE - at : step;
		int r = image_pread(i, got, n, at, &e);

		cr_assert_eq(r, 0, "at %zu: %d: %s", at, r, e.text);
		cr_assert_eq(memcmp(got, plain + at, n), 0, "at %zu", at);
		check_view(i, n, at);
	}
	free(got);
}

#endif
