/* SPDX-License-Identifier: Apache-2.0
 * Reads of the image that the wire's fake host serves (wire_world.h), chunk by chunk: each is right, or
 * fails. */
#ifndef COCOON_TEST_CHUNK_READS_H
#define COCOON_TEST_CHUNK_READS_H

#include "wire_world.h"

#include <time.h>

#define CHUNK 16384u
#define BAD 64u				     /* of the data chunks */
#define BAD_AT (4096u + (size_t)BAD * CHUNK) /* where it lies in the image */
#define PATIENT_MS 20000u
#define REMEMBERED_US 1100000 /* after it a chunk that has failed is asked for again, whatever it took */

static inline long now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int read_at(struct image *i, size_t at, size_t n, struct err *e)
{
	static _Thread_local uint8_t got[CHUNK];
	int r = image_pread(i, got, n, at, e);

	if (r == 0)
		cr_assert_eq(memcmp(got, w.plain + at, n), 0);
	return r;
}

static inline void must_read_at(struct image *i, size_t at)
{
	struct err e = {""};
	int r = read_at(i, at, 4096, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
}

/* How many of a chunk's pages cannot be read. */
static inline int bad_pages(struct image *i, size_t at)
{
	int n = 0;

	for (size_t k = 0; k < CHUNK; k += 4096)
		n += read_at(i, at + k, 4096, NULL) < 0;
	return n;
}

static inline void *read_everything(void *arg)
{
	must_read_all(arg);
	return NULL;
}

static inline struct source_stats stats_of(struct image *i)
{
	struct image_stats s;

	image_stats(i, &s);
	return s.source;
}

#endif
