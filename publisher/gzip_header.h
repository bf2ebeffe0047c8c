/* SPDX-License-Identifier: Apache-2.0
 * The header of a gzip member (RFC 1952 §2.3), taken from a stream in pieces of any size. ISA-L's own reader
 * refuses some valid headers that come in pieces, and takes flags that no version has. No limit is needed:
 * nothing of it is kept. */
#ifndef COCOON_PUBLISHER_GZIP_HEADER_H
#define COCOON_PUBLISHER_GZIP_HEADER_H

#include <stddef.h>
#include <stdint.h>

struct gzip_header {
	unsigned part, n; /* what comes now; bytes of it that came, or that are left */
	uint8_t flags;
	uint8_t low;  /* the lower of two bytes */
	uint32_t crc; /* of what came before the checksum */
};

void gzip_header_begin(struct gzip_header *h);

enum { GZIP_HEADER_DONE = 1 };
/* Use up to *n bytes at *in, which move on. 0: more are wanted; GZIP_HEADER_DONE: what follows is deflated
 * data; -EUCLEAN: not the header of a member. */
int gzip_header_step(struct gzip_header *h, const uint8_t **in, size_t *n);

#endif
