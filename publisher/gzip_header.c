/* SPDX-License-Identifier: Apache-2.0
 * Byte after byte: ten that are always there, then the parts that the flags name. */
#include "publisher/gzip_header.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <stdbool.h>

#define FIXED_SIZE 10u
#define FLAGS_AT 3u

enum flag { FHCRC = 2, FEXTRA = 4, FNAME = 8, FCOMMENT = 16, RESERVED = 0xe0 };
enum part { FIXED, EXTRA_SIZE, EXTRA, NAME, COMMENT, CHECKSUM, DONE };

void gzip_header_begin(struct gzip_header *h)
{
	*h = (struct gzip_header){.part = FIXED};
}

/* The next part that is there; h->n is 0 in all but EXTRA, where it is what is left. */
static void next_part(struct gzip_header *h)
{
	static const uint8_t flags[] = {[EXTRA_SIZE] = FEXTRA,
					[EXTRA] = FEXTRA,
					[NAME] = FNAME,
					[COMMENT] = FCOMMENT,
					[CHECKSUM] = FHCRC};

	do {
		h->part++;
	} while (h->part != DONE && (!(h->flags & flags[h->part]) || (h->part == EXTRA && h->n == 0)));
}

static int fixed_byte(struct gzip_header *h, uint8_t byte)
{
	static const uint8_t magic_and_deflate[FLAGS_AT] = {0x1f, 0x8b, 8};

	if (h->n < FLAGS_AT && byte != magic_and_deflate[h->n])
		return -EUCLEAN;
	if (h->n == FLAGS_AT) {
		if (byte & RESERVED)
			return -EUCLEAN;
		h->flags = byte;
	}
	if (++h->n == FIXED_SIZE) {
		h->n = 0;
		next_part(h);
	}
	return 0;
}

/* Two bytes, the lower first: true with the second. */
static bool two_bytes(struct gzip_header *h, uint8_t byte, unsigned *value)
{
	if (h->n++ == 0) {
		h->low = byte;
		return false;
	}
	*value = h->low | (unsigned)byte << 8;
	h->n = 0;
	return true;
}

static int take(struct gzip_header *h, uint8_t byte)
{
	unsigned value;

	switch ((enum part)h->part) {
	case FIXED:
		return fixed_byte(h, byte);
	case EXTRA_SIZE:
		if (two_bytes(h, byte, &value)) {
			h->n = value;
			next_part(h);
		}
		return 0;
	case EXTRA:
		if (--h->n == 0)
			next_part(h);
		return 0;
	case NAME:
	case COMMENT:
		if (byte == 0)
			next_part(h);
		return 0;
	case CHECKSUM:
		if (!two_bytes(h, byte, &value))
			return 0;
		next_part(h);
		return value == (h->crc & 0xffff) ? 0 : -EUCLEAN;
	case DONE:
		break;
	}
	return -EINVAL;
}

int gzip_header_step(struct gzip_header *h, const uint8_t **in, size_t *n)
{
	for (; *n && h->part != DONE; ++*in, --*n) {
		bool covered = h->part != CHECKSUM;
		int r = take(h, **in);

		if (r < 0)
			return r;
		if (covered)
			h->crc = crc32_gzip_refl(h->crc, *in, 1);
	}
	return h->part == DONE ? GZIP_HEADER_DONE : 0;
}
