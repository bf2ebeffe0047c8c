/* SPDX-License-Identifier: Apache-2.0
 * Tars of every form, read; and one breach of each rule, refused. */
#include "publisher/tar_reader.h"

#include "proto/base/cleanup.h"
#include "test/unit/publisher/tar_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>

struct source {
	const uint8_t *p;
	size_t left;
};

static int pull(void *arg, void *buf, size_t n, size_t *got, struct err *e)
{
	struct source *s = arg;

	(void)e;
	*got = n < s->left ? n : s->left;
	if (*got)
		memcpy(buf, s->p, *got);
	s->p += *got;
	s->left -= *got;
	return 0;
}

static struct source input;
static struct tar_reader *reader;
static struct tar_entry entry;
static struct err e;

static void open_tar(const struct tar_out *t)
{
	tar_reader_free(reader);
	input = (struct source){t->b.data, t->b.size};
	cr_assert_eq(tar_reader_new(&reader, pull, &input), 0);
}

static void next(void)
{
	int r = tar_next(reader, &entry, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
}

static void ends(void)
{
	int r = tar_next(reader, &entry, &e);

	cr_assert_eq(r, TAR_END, "%d: %s", r, r < 0 ? e.text : entry.path);
	cr_assert_eq(tar_next(reader, &entry, &e), TAR_END, "it ends once and for all");
}

/* What goes wrong first, entries and their data read to the end. */
static int first_failure(void)
{
	uint8_t data[1000];
	size_t got;
	int r;

	while ((r = tar_next(reader, &entry, &e)) == 0) {
		do
			r = tar_read(reader, data, sizeof(data), &got, &e);
		while (r == 0 && got);
		if (r < 0)
			return r;
	}
	return r;
}

static void refused(const struct tar_out *t, int code, const char *words)
{
	int r;

	open_tar(t);
	r = first_failure();
	cr_assert_eq(r, code, "%s: %d instead of %d (%s)", words, r, code, r < 0 ? e.text : "");
	cr_assert(strstr(e.text, words), "\"%s\" does not say \"%s\"", e.text, words);
}

static void clean(void)
{
	tar_reader_free(reader);
	reader = NULL;
}

TestSuite(tar_reader, .fini = clean);

Test(tar_reader, reads_what_a_header_says)
{
	struct tar_out t = TAR_OUT;

	TAR_ADD(&t, .name = "dir/", .type = '5', .mode = 01755, .uid = 7, .gid = 8, .mtime = 1234567890);
	TAR_ADD(&t, .name = "dev", .type = '3', .major = 4095, .minor = 1048575);
	TAR_ADD(&t, .name = "sym", .type = '2', .link = "to");
	TAR_ADD(&t, .name = "file", .data = "12345", .size = 5, .mode = 0104711);
	tar_end(&t);
	open_tar(&t);
	next();
	cr_assert_eq(entry.type, TAR_DIR);
	cr_assert_str_eq(entry.path, "dir/");
	cr_assert_eq(entry.mode, 01755);
	cr_assert_eq(entry.uid, 7);
	cr_assert_eq(entry.gid, 8);
	cr_assert_eq(entry.mtime, 1234567890);
	next();
	cr_assert_eq(entry.type, TAR_CHR);
	cr_assert_eq(entry.major, 4095);
	cr_assert_eq(entry.minor, 1048575);
	next();
	cr_assert_eq(entry.type, TAR_SYMLINK);
	cr_assert_str_eq(entry.link, "to");
	next();
	cr_assert_eq(entry.type, TAR_FILE);
	cr_assert_eq(entry.mode, 04711, "only the permissions count, not a type among them");
	cr_assert_eq(entry.size, 5);
	cr_assert_eq(entry.n_extents, 1);
	cr_assert_not(entry.sparse);
	ends();
	buf_deinit(&t.b);
}

Test(tar_reader, gives_data_in_pieces_and_skips_what_is_not_read)
{
	struct tar_out t = TAR_OUT;
	uint8_t data[1500], got_data[1500];
	size_t got;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	TAR_ADD(&t, .name = "a", .data = data, .size = sizeof(data));
	TAR_ADD(&t, .name = "b", .data = data, .size = sizeof(data));
	tar_end(&t);
	open_tar(&t);
	next();
	cr_assert_eq(tar_read(reader, got_data, 600, &got, &e), 0);
	cr_assert_eq(got, 600);
	cr_assert_eq(tar_read(reader, got_data + 600, 5000, &got, &e), 0);
	cr_assert_eq(got, 900);
	cr_assert_arr_eq(got_data, data, sizeof(data));
	cr_assert_eq(tar_read(reader, got_data, 10, &got, &e), 0);
	cr_assert_eq(got, 0);
	next();
	cr_assert_str_eq(entry.path, "b");
	cr_assert_eq(tar_read(reader, got_data, 1, &got, &e), 0);
	ends();
	buf_deinit(&t.b);
}

Test(tar_reader, ends_at_zero_blocks_or_where_the_input_ends)
{
	struct tar_out t = TAR_OUT;

	open_tar(&t);
	ends();
	TAR_ADD(&t, .name = "a");
	open_tar(&t);
	next();
	ends();
	buf_zero(&t.b, 512);
	open_tar(&t);
	next();
	ends();
	buf_zero(&t.b, 200000);
	open_tar(&t);
	next();
	ends();
	buf_u8(&t.b, 1);
	refused(&t, -EUCLEAN, "behind the end");
	buf_deinit(&t.b);
}

Test(tar_reader, takes_names_from_prefix_gnu_and_pax)
{
	struct tar_out t = TAR_OUT;
	struct buf pax;
	size_t at;

	at = TAR_ADD(&t, .name = "name");
	memcpy(t.b.data + at + 345, "prefix/of", 9);
	tar_sum(t.b.data + at);
	tar_extension(&t, 'L', "gnu/long", 9);
	tar_extension(&t, 'K', "gnu/target", 11);
	TAR_ADD(&t, .name = "short", .type = '2', .link = "x");
	buf_init(&pax, 4096);
	pax_text(&pax, "path", "pax \xff\n=path");
	pax_text(&pax, "linkpath", "pax link");
	pax_text(&pax, "path", ""); /* as if it were not there */
	TAR_ADD(&t, .name = "short", .type = '1', .link = "x", PAX_OF(pax));
	TAR_ADD(&t, .name = "plain", .type = '1', .link = "again");
	tar_end(&t);
	open_tar(&t);
	next();
	cr_assert_str_eq(entry.path, "prefix/of/name");
	next();
	cr_assert_str_eq(entry.path, "gnu/long");
	cr_assert_str_eq(entry.link, "gnu/target");
	next();
	cr_assert_str_eq(entry.path, "pax \xff\n=path");
	cr_assert_str_eq(entry.link, "pax link");
	next();
	cr_assert_str_eq(entry.path, "plain", "an extension is for one entry");
	cr_assert_str_eq(entry.link, "again");
	ends();
	buf_deinit(&pax);
	buf_deinit(&t.b);
}

Test(tar_reader, reads_pax_times_exactly)
{
	static const struct {
		const char *text;
		int64_t sec;
		uint32_t nsec;
	} cases[] = {
		{"0", 0, 0},
		{"1700000000.123456789", 1700000000, 123456789},
		{"1.5", 1, 500000000},
		{"1.000000001999", 1, 1},
		{"1.", 1, 0},
		{"-1", -1, 0},
		{"-1.5", -2, 500000000},
		{"-0.000000001", -1, 999999999},
		{"-0", 0, 0},
		{"7258118400.999999999", 7258118400, 999999999},
		{"9223372036854775806", INT64_MAX - 1, 0},
	};
	static const char *const bad[] = {"",	"x",	"1x", "1.5x", "--1", "1,5", "9223372036854775807",
					  ".5", "1.-5", "+1", " 1"};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out t = TAR_OUT;
		struct buf pax = {.max = 4096};

		pax_text(&pax, "mtime", cases[i].text);
		TAR_ADD(&t, .name = "a", .mtime = 99, PAX_OF(pax));
		tar_end(&t);
		open_tar(&t);
		next();
		cr_assert_eq(entry.mtime, cases[i].sec, "%s", cases[i].text);
		cr_assert_eq(entry.mtime_nsec, cases[i].nsec, "%s", cases[i].text);
		buf_deinit(&pax);
		buf_deinit(&t.b);
	}
	for (size_t i = 1; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tar_out t = TAR_OUT;
		struct buf pax = {.max = 4096};

		pax_text(&pax, "mtime", bad[i]);
		TAR_ADD(&t, .name = "a", PAX_OF(pax));
		tar_end(&t);
		refused(&t, -EUCLEAN, "mtime");
		buf_deinit(&pax);
		buf_deinit(&t.b);
	}
}

/* The size field of a header, set by hand. */
static void with_field(struct tar_out *t, size_t at, const void *field, size_t n)
{
	size_t header = TAR_ADD(t, .name = "a");

	memcpy(t->b.data + header + at, field, n);
	tar_sum(t->b.data + header);
	tar_end(t);
}

Test(tar_reader, reads_numbers_in_base_256)
{
	static const struct {
		uint8_t field[12];
		int64_t want;
	} cases[] = {
		{{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}, 5},
		{{0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 4294967296},
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb}, -5},
		{{0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, INT64_MAX},
		{"  17 \0", 15},
		{"", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out t = TAR_OUT;

		with_field(&t, 136, cases[i].field, 12);
		open_tar(&t);
		next();
		cr_assert_eq(entry.mtime, cases[i].want, "case %zu: %lld", i, (long long)entry.mtime);
		buf_deinit(&t.b);
	}
}

Test(tar_reader, refuses_impossible_headers)
{
	static const struct {
		size_t at;
		const char *field;
		size_t n;
		const char *words;
	} cases[] = {
		{100, "9", 1, "mode"},
		{108, "00000x0", 7, "owner"},
		{108, "\x80\0\0\1\0\0\0\0", 8, "owner"},
		{108, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "owner"},
		{116, "\x80\0\0\1\0\0\0\0", 8, "group"},
		{124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, "size"},
		{124, "\x80\1\0\0\0\0\0\0\0\0\0\0", 12, "size"},
		{124, "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, "impossible size"},
		{136, "\x81\0\0\0\0\0\0\0\0\0\0\0", 12, "time"},
		{156, "Q", 1, "type 0x51"},
		{156, "V", 1, "type 0x56"},
	};
	struct tar_out t = TAR_OUT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out bad = TAR_OUT;

		with_field(&bad, cases[i].at, cases[i].field, cases[i].n);
		refused(&bad, cases[i].at == 156 ? -ENOTSUP : -EUCLEAN, cases[i].words);
		buf_deinit(&bad.b);
	}
	TAR_ADD(&t, .name = "a");
	t.b.data[0] = 'b';
	tar_end(&t);
	refused(&t, -EUCLEAN, "checksum");
	buf_deinit(&t.b);
}

Test(tar_reader, refuses_a_tar_that_is_cut_off)
{
	struct tar_out t = TAR_OUT;
	struct buf pax = {.max = 4096};
	size_t ends_well[4], n = 0;

	pax_text(&pax, "uid", "5");
	ends_well[n++] = 0;
	TAR_ADD(&t, .name = "a", .data = "0123456789", .size = 10);
	ends_well[n++] = t.b.size;
	TAR_ADD(&t, .name = "b", .data = "0123456789", .size = 10, PAX_OF(pax));
	ends_well[n++] = t.b.size;
	tar_extension(&t, 'L', "name", 5);
	TAR_ADD(&t, .name = "c");
	ends_well[n++] = t.b.size;
	for (size_t size = 0, well = 0; size <= t.b.size; size++) {
		/* A copy of its own, so that a sanitizer sees a read beyond it. */
		void *copy = memcpy(malloc(size + 1), t.b.data, size);
		int r;

		input.p = copy;
		input.left = size;
		tar_reader_free(reader);
		cr_assert_eq(tar_reader_new(&reader, pull, &input), 0);
		r = first_failure();
		free(copy);
		if (well < n && size == ends_well[well]) {
			cr_assert_eq(r, TAR_END, "%zu bytes: %d", size, r);
			well++;
		} else {
			cr_assert_eq(r, -EUCLEAN, "%zu bytes: %d", size, r);
		}
	}
	buf_deinit(&pax);
	buf_deinit(&t.b);
}

Test(tar_reader, refuses_an_extension_without_an_entry)
{
	struct tar_out t = TAR_OUT;

	tar_extension(&t, 'x', "8 uid=1\n", 8);
	tar_end(&t);
	refused(&t, -EUCLEAN, "no entry");
	buf_deinit(&t.b);
}

Test(tar_reader, refuses_malformed_pax_records)
{
	static const struct {
		const char *records;
		const char *words;
	} cases[] = {
		{"x uid=1\n", "malformed"},
		{"8uid=1\n", "malformed"},
		{"7 uid=1\n", "malformed"},
		{"9 uid=1\n", "malformed"},
		{"6 uid1\n", "malformed"},
		{"4 =\n", "malformed"},
		{"8 uid=1 ", "malformed"},
		{"0 uid=1\n", "malformed"},
		{"18446744073709551616 uid=1\n", "malformed"},
		{"18446744073709551615 uid=1\n", "malformed"},
		{"8 uid=1\n9", "malformed"},
		{"9 uid=-1\n", "uid"},
		{"18 uid=4294967296\n", "uid"},
		{"18 gid=4294967296\n", "gid"},
		{"29 size=18446744073709551616\n", "size"},
		{"28 size=9223372036854775808\n", "size"},
		{"24 GNU.sparse.size=many\n", "GNU.sparse.size"},
		{"25 GNU.sparse.size=many\n", "malformed"},
		{"22 GNU.sparse.major=2\n", "form that is not known"},
	};
	struct tar_out t = TAR_OUT;
	struct buf pax = {.max = 4096};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out bad = TAR_OUT;

		TAR_ADD(&bad, .name = "a", .pax = cases[i].records);
		tar_end(&bad);
		refused(&bad, strstr(cases[i].words, "not known") ? -ENOTSUP : -EUCLEAN, cases[i].words);
		buf_deinit(&bad.b);
	}
	pax_bytes(&pax, "path", "a\0b", 3);
	TAR_ADD(&t, .name = "a", PAX_OF(pax));
	tar_end(&t);
	refused(&t, -EUCLEAN, "path");
	buf_deinit(&pax);
	buf_deinit(&t.b);
}

Test(tar_reader, refuses_extensions_over_the_limit)
{
	struct tar_out t = TAR_OUT;

	tar_header(&t, &(struct tar_spec){.name = "x", .type = 'x', .size = TAR_MAX_EXTENSION + 1});
	refused(&t, -EUCLEAN, "are allowed");
	buf_deinit(&t.b);
}

Test(tar_reader, passes_over_global_headers)
{
	struct tar_out t = TAR_OUT;

	tar_extension(&t, 'g', "14 path=other\n", 14);
	TAR_ADD(&t, .name = "a");
	tar_extension(&t, 'g', "", 0);
	tar_end(&t);
	open_tar(&t);
	next();
	cr_assert_str_eq(entry.path, "a");
	ends();
	buf_deinit(&t.b);
}

Test(tar_reader, knows_the_directories_of_v7)
{
	struct tar_out t = TAR_OUT;
	size_t at = TAR_ADD(&t, .name = "dir/", .magic = "\0\0\0\0\0\0\0");

	t.b.data[at + 156] = 0;
	tar_sum(t.b.data + at);
	tar_end(&t);
	open_tar(&t);
	next();
	cr_assert_eq(entry.type, TAR_DIR);
	buf_deinit(&t.b);
}

Test(tar_reader, takes_no_data_from_entries_that_have_none)
{
	struct tar_out t = TAR_OUT;

	TAR_ADD(&t, .name = "link", .type = '1', .link = "a", .size = 512);
	TAR_ADD(&t, .name = "dir", .type = '5', .size = 4096);
	tar_end(&t);
	open_tar(&t);
	next();
	next();
	cr_assert_eq(entry.size, 0);
	ends();
	buf_deinit(&t.b);
}

/* A file of 10,000 bytes: 512 at 0, 100 at 8192; the rest holes. */
static const struct tar_extent sparse_extents[] = {{0, 512}, {8192, 100}};
static uint8_t sparse_data[612];

static void add_sparse(struct tar_out *t, const char *form)
{
	struct buf pax = {.max = 4096};
	uint8_t stored[512 + 612] = "3\n0\n512\n8192\n100\n10000\n0\n";
	size_t size = 612, at;

	for (size_t i = 0; i < sizeof(sparse_data); i++)
		sparse_data[i] = (uint8_t)(i + 1);
	memcpy(stored + 512, sparse_data, 612);
	if (!strcmp(form, "1.0")) {
		pax_text(&pax, "GNU.sparse.major", "1");
		pax_text(&pax, "GNU.sparse.minor", "0");
		pax_text(&pax, "GNU.sparse.name", "true-name");
		pax_text(&pax, "path", "not/this");
		pax_text(&pax, "GNU.sparse.realsize", "10000");
		TAR_ADD(t, .name = "x", .data = stored, .size = sizeof(stored), PAX_OF(pax));
	} else if (!strcmp(form, "0.1")) {
		pax_text(&pax, "GNU.sparse.size", "10000");
		pax_text(&pax, "GNU.sparse.numblocks", "3");
		pax_text(&pax, "GNU.sparse.name", "true-name");
		pax_text(&pax, "GNU.sparse.map", "0,512,8192,100,10000,0");
		TAR_ADD(t, .name = "x", .data = sparse_data, .size = size, PAX_OF(pax));
	} else if (!strcmp(form, "0.0")) {
		pax_text(&pax, "GNU.sparse.size", "10000");
		pax_text(&pax, "GNU.sparse.offset", "0");
		pax_text(&pax, "GNU.sparse.numbytes", "512");
		pax_text(&pax, "GNU.sparse.offset", "8192");
		pax_text(&pax, "GNU.sparse.numbytes", "100");
		TAR_ADD(t, .name = "true-name", .data = sparse_data, .size = size, PAX_OF(pax));
	} else {
		at = tar_header(t,
				&(struct tar_spec){
					.name = "true-name", .type = 'S', .size = size, .magic = "ustar  "});
		tar_octal(t->b.data + at + 386, 12, 0);
		tar_octal(t->b.data + at + 398, 12, 512);
		t->b.data[at + 482] = 1;
		tar_octal(t->b.data + at + 483, 12, 10000);
		tar_sum(t->b.data + at);
		at = t->b.size;
		buf_zero(&t->b, 512);
		tar_octal(t->b.data + at, 12, 8192);
		tar_octal(t->b.data + at + 12, 12, 100);
		tar_body(t, sparse_data, size);
	}
	buf_deinit(&pax);
}

Test(tar_reader, reads_every_form_of_sparse_files)
{
	static const char *const forms[] = {"1.0", "0.1", "0.0", "gnu"};

	for (size_t i = 0; i < 4; i++) {
		struct tar_out t = TAR_OUT;
		uint8_t got_data[1000];
		size_t got;

		add_sparse(&t, forms[i]);
		TAR_ADD(&t, .name = "next");
		tar_end(&t);
		open_tar(&t);
		next();
		cr_assert_str_eq(entry.path, "true-name", "%s: %s", forms[i], entry.path);
		cr_assert(entry.sparse);
		cr_assert_eq(entry.size, 10000);
		cr_assert_eq(entry.n_extents, 2, "%s", forms[i]);
		cr_assert_arr_eq(entry.extents, sparse_extents, sizeof(sparse_extents));
		cr_assert_eq(tar_read(reader, got_data, sizeof(got_data), &got, &e), 0);
		cr_assert_eq(got, 612);
		cr_assert_arr_eq(got_data, sparse_data, 612);
		next();
		cr_assert_str_eq(entry.path, "next", "%s", forms[i]);
		cr_assert_not(entry.sparse);
		ends();
		buf_deinit(&t.b);
	}
}

Test(tar_reader, refuses_maps_that_contradict_themselves)
{
	static const char *const maps[] = {
		"0,512,511,100",
		"512,512,0,100",
		"0,611",
		"0,613",
		"0",
		"0,612,",
		",0,612",
		"0,,612",
		"0,612,x,1",
		"9700,612",
		"9223372036854775807,612",
		"18446744073709551616,612",
		"-1,612",
		"9223372036854775808,612",
		"0,612,10001,0,5,1",
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		struct tar_out t = TAR_OUT;
		struct buf pax = {.max = 4096};

		pax_text(&pax, "GNU.sparse.size", "10000");
		pax_text(&pax, "GNU.sparse.map", maps[i]);
		TAR_ADD(&t, .name = "x", .data = sparse_data, .size = 612, PAX_OF(pax));
		tar_end(&t);
		refused(&t, -EUCLEAN, "sparse");
		buf_deinit(&pax);
		buf_deinit(&t.b);
	}
}

Test(tar_reader, refuses_bad_maps_in_front_of_data)
{
	static const struct {
		const char *map;
		int code;
	} cases[] = {
		{"1\n0\n613\n", -EUCLEAN}, {"1\n0\n", -EUCLEAN},   {"x\n", -EUCLEAN}, {"\n", -EUCLEAN},
		{"9999999\n", -E2BIG},	   {"1\n0\n\n", -EUCLEAN}, {"", -EUCLEAN},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tar_out t = TAR_OUT;
		struct buf pax = {.max = 4096};
		uint8_t stored[512 + 612] = {0};

		memcpy(stored, cases[i].map, strlen(cases[i].map));
		pax_text(&pax, "GNU.sparse.major", "1");
		pax_text(&pax, "GNU.sparse.minor", "0");
		pax_text(&pax, "GNU.sparse.realsize", "10000");
		TAR_ADD(&t, .name = "x", .data = stored, .size = sizeof(stored), PAX_OF(pax));
		tar_end(&t);
		refused(&t, cases[i].code, "sparse file");
		buf_deinit(&pax);
		buf_deinit(&t.b);
	}
}
