/* SPDX-License-Identifier: Apache-2.0
 * What a hostile host has of an image: the blobs as they were published, with other bytes here and there; and
 * a source that hands them to the image reader without a wire in between. */
#ifndef COCOON_TEST_STORE_H
#define COCOON_TEST_STORE_H

#include "guestfs/source.h"
#include "proto/format/descriptor.h"
#include "proto/format/format.h"
#include "seal_fixture.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_EDITS 64u
#define STORE_OWN_BYTES (64u << 10)
#define STORE_ALIASES 8u

/* Blob bytes [at, at + n) are these; later edits cover earlier ones. */
struct edit {
	uint32_t blob;
	uint64_t at, n;
	const uint8_t *from; /* borrowed; NULL: zeros */
};

/* Asked for one chunk, the host gives another one's bytes, or an error. */
struct alias {
	uint32_t asked, given;
	int error; /* negative, or 0 */
};

struct store {
	const struct sealed *image;
	struct buf manifest;
	uint8_t descriptor[DESCRIPTOR_SIZE];
	uint64_t sizes[MAX_BLOBS]; /* of the blobs: nothing is behind */
	size_t n_edits, n_aliases, n_own;
	struct edit edits[STORE_EDITS];
	struct alias aliases[STORE_ALIASES];
	uint8_t own[STORE_OWN_BYTES]; /* bytes of edits that stand nowhere else */
};

void store_init(struct store *s);
void store_deinit(struct store *s);
/* Honest again, with this image (borrowed). */
void store_reset(struct store *s, const struct sealed *image);

/* Edits past the limits above are not made. */
void store_edit(struct store *s, uint32_t blob, uint64_t at, const uint8_t *from, uint64_t n);
/* The same with a copy of the bytes. */
void store_write(struct store *s, uint32_t blob, uint64_t at, const void *p, size_t n);
void store_alias(struct store *s, uint32_t asked, uint32_t given, int error);

static inline uint32_t store_index(const struct store *s)
{
	return s->image->n_blobs - 1;
}

/* 0, or -EIO past the end of the blob. */
int store_read(const struct store *s, uint32_t blob, uint64_t at, uint8_t *to, size_t n);
/* A chunk as a host finds it: where its own table says. *n is at most MAX_STORED_SIZE, the size of `to`. */
int store_chunk(const struct store *s, uint32_t number, uint8_t *to, size_t *n);

struct source_store {
	struct source source;
	const struct store *store;
	uint8_t stored[MAX_STORED_SIZE];
};

/* The caller's storage; one thread at a time. */
void source_store_init(struct source_store *s, const struct store *store);

#endif
