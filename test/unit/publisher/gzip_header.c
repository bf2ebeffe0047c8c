/* SPDX-License-Identifier: Apache-2.0
 * Headers as zlib writes them, in pieces of every size, and what is none. */
#include "publisher/gzip_header.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#define SIZE 512u

static Bytef extra[] = "extra", name[] = "name", comment[] = "comment";

/* A whole member of nothing, whose header has these parts; *data is where the header ends. */
static size_t member(uint8_t out[SIZE], gz_header *parts, size_t *data)
{
	z_stream z = {0};

	cr_assert_eq(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	cr_assert_eq(deflateSetHeader(&z, parts), Z_OK);
	z.next_out = out;
	z.avail_out = SIZE;
	cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	cr_assert_eq(deflateEnd(&z), Z_OK);
	*data = z.total_out - 2 - 8; /* an empty block, and the trailer */
	return z.total_out;
}

/* What the header takes of it, or a negative errno. */
static long run(const uint8_t *p, size_t n, size_t piece)
{
	const uint8_t *start = p;
	struct gzip_header h;

	gzip_header_begin(&h);
	while (n) {
		size_t now = n < piece ? n : piece, left = now;
		int r = gzip_header_step(&h, &p, &left);

		if (r)
			return r < 0 ? r : p - start;
		cr_assert_eq(left, 0u);
		n -= now;
	}
	return -EAGAIN;
}

Test(gzip_header, ends_where_the_data_begin_whatever_parts_it_has_and_however_it_comes)
{
	for (unsigned parts = 0; parts < 16; parts++) {
		gz_header h = {.extra = parts & 1 ? extra : Z_NULL,
			       .extra_len = 5,
			       .name = parts & 2 ? name : Z_NULL,
			       .comment = parts & 4 ? comment : Z_NULL,
			       .hcrc = parts & 8 ? 1 : 0};
		uint8_t b[SIZE];
		size_t data, n = member(b, &h, &data);

		for (size_t piece = 1; piece <= n; piece++)
			cr_assert_eq(run(b, n, piece), (long)data, "parts %x, piece %zu", parts, piece);
		for (size_t cut = 0; cut < data; cut++)
			cr_assert_eq(run(b, cut, 3), -EAGAIN);
	}
}

Test(gzip_header, has_an_extra_field_that_is_empty)
{
	static const uint8_t b[] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 0, 0, 'd'};

	cr_assert_eq(run(b, sizeof(b), 1), 12);
}

Test(gzip_header, refuses_another_magic_method_flag_or_checksum)
{
	/* without a checksum of its own the first four bytes speak for themselves */
	gz_header bare = {.name = name}, checked = {.name = name, .hcrc = 1};
	const struct {
		gz_header *parts;
		long at; /* from the end of the header when negative */
		uint8_t flip;
	} cases[] = {{&bare, 0, 1},	{&bare, 1, 1},	   {&bare, 2, 1},
		     {&bare, 3, 0x20},	{&bare, 3, 0x40},  {&bare, 3, 0x80},
		     {&checked, 10, 1}, {&checked, -2, 1}, {&checked, -1, 1}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t b[SIZE];
		size_t data, n = member(b, cases[i].parts, &data);
		size_t at = cases[i].at < 0 ? data - (size_t)-cases[i].at : (size_t)cases[i].at;

		b[at] ^= cases[i].flip;
		cr_assert_eq(run(b, n, 4), -EUCLEAN, "case %zu", i);
	}
}
