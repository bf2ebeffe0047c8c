/* SPDX-License-Identifier: Apache-2.0
 * A source over a sealed image in memory that lies when it is told to, for tests. */
#ifndef COCOON_TEST_SOURCE_MEMORY_H
#define COCOON_TEST_SOURCE_MEMORY_H

#include "guestfs/image.h"
#include "seal_fixture.h"

#include <stdatomic.h>

enum where { IN_MANIFEST, IN_DESCRIPTOR, IN_INDEX, IN_CHUNK };

struct source_memory {
	struct source source;
	const struct sealed *image;
	/* Change what is about to be handed out: bytes at `offset` of the manifest, descriptor or index, or
	 * the stored bytes of chunk `offset`. Return a negative errno to fail instead. NULL: be honest.
	 * Called from any thread. */
	int (*tamper)(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n);
	void *arg;
	unsigned int delay_us; /* of every chunk request */
	atomic_uint index_reads, chunk_reads, chunks, closed;
};

/* The caller's storage; `image` is borrowed. */
void source_memory_init(struct source_memory *s, const struct sealed *image);

/* Over the 32 bytes of an image key; NULL: there is none. */
image_key_finder find_given_key;

#endif
