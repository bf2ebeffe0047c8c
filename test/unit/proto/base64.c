/* SPDX-License-Identifier: Apache-2.0
 * Base64 against RFC 4648 §10, and everything that a strict reader refuses. */
#include "proto/base/base64.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct {
	const char *plain, *standard, *url;
} known[] = {
	{"", "", ""},
	{"f", "Zg==", "Zg"},
	{"fo", "Zm8=", "Zm8"},
	{"foo", "Zm9v", "Zm9v"},
	{"foob", "Zm9vYg==", "Zm9vYg"},
	{"fooba", "Zm9vYmE=", "Zm9vYmE"},
	{"foobar", "Zm9vYmFy", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/", "-_-_"},
};

static void check(enum base64_kind kind, const char *plain, const char *text)
{
	cleanup_buf struct buf b;

	buf_init(&b, 64);
	base64_encode(&b, kind, plain, strlen(plain));
	cr_assert_eq(b.size, strlen(text));
	cr_assert_eq(b.size, base64_size(kind, strlen(plain)));
	cr_assert_eq(memcmp(b.data ? b.data : (const uint8_t *)"", text, b.size), 0, "%s", text);
	buf_deinit(&b);
	cr_assert_eq(base64_decode(&b, kind, text, strlen(text)), 0, "%s", text);
	cr_assert_eq(b.size, strlen(plain));
	cr_assert_eq(memcmp(b.data ? b.data : (const uint8_t *)"", plain, b.size), 0, "%s", text);
}

Test(base64, known_answers_in_both_directions)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		check(BASE64_STANDARD, known[i].plain, known[i].standard);
		check(BASE64_URL, known[i].plain, known[i].url);
	}
}

Test(base64, refuses_all_but_one_spelling)
{
	static const struct {
		enum base64_kind kind;
		const char *text;
	} bad[] = {
		{BASE64_STANDARD, "Zg"},       /* no padding */
		{BASE64_STANDARD, "Zg="},      /* half of it */
		{BASE64_STANDARD, "Zg==="},    /* too much */
		{BASE64_STANDARD, "Z==="},     /* one character is no byte */
		{BASE64_STANDARD, "===="},     /* padding alone */
		{BASE64_STANDARD, "Zh=="},     /* spare bits */
		{BASE64_STANDARD, "Zm9="},     /* spare bits */
		{BASE64_STANDARD, "Zg==Zg=="}, /* padding inside */
		{BASE64_STANDARD, "Zm9v\n"},   /* white space */
		{BASE64_STANDARD, "Zm 9"},     /* white space inside */
		{BASE64_STANDARD, "-_-_"},     /* the other alphabet */
		{BASE64_STANDARD, "Zm9\x80"},  /* not ASCII */
		{BASE64_URL, "Zg=="},	       /* padding */
		{BASE64_URL, "Z"},	       /* one character is no byte */
		{BASE64_URL, "Zm9vY"},	       /* one character is no byte */
		{BASE64_URL, "Zh"},	       /* spare bits */
		{BASE64_URL, "Zm9"},	       /* spare bits */
		{BASE64_URL, "+/+/"},	       /* the other alphabet */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cleanup_buf struct buf b;

		buf_init(&b, 64);
		cr_assert_eq(base64_decode(&b, bad[i].kind, bad[i].text, strlen(bad[i].text)), -EINVAL, "%s",
			     bad[i].text);
	}
}

Test(base64, every_character_has_its_value_or_none)
{
	static const char *const alphabets[] = {
		[BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		[BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
	};

	for (int kind = 0; kind < 2; kind++)
		for (int c = 0; c < 256; c++) {
			const char text[4] = {'A', 'A', 'A', (char)c};
			const char *at = memchr(alphabets[kind], c, 64);
			cleanup_buf struct buf b = {.max = 3};

			cr_assert_eq(base64_decode(&b, (enum base64_kind)kind, text, 4),
				     at || (c == '=' && kind == BASE64_STANDARD) ? 0 : -EINVAL, "%d", c);
			if (at)
				cr_assert_eq(b.data[2], at - alphabets[kind], "%c", c);
		}
}

Test(base64, every_length_comes_back)
{
	uint8_t raw[100];

	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(i * 89 + 3);
	for (size_t n = 0; n <= sizeof(raw); n++) {
		for (int kind = BASE64_STANDARD; kind <= BASE64_URL; kind++) {
			cleanup_buf struct buf text, back;

			buf_init(&text, 200);
			buf_init_secret(&back, sizeof(raw));
			base64_encode(&text, (enum base64_kind)kind, raw, n);
			cr_assert_eq(
				base64_decode(&back, (enum base64_kind)kind, (char *)text.data, text.size),
				0);
			cr_assert_eq(back.size, n);
			if (n)
				cr_assert_arr_eq(back.data, raw, n);
		}
	}
}

Test(base64, full_buffer_is_too_big)
{
	cleanup_buf struct buf b;

	buf_init(&b, 5);
	cr_assert_eq(base64_decode(&b, BASE64_STANDARD, "Zm9vYmFy", 8), -E2BIG);
	cr_assert_eq(b.size, 3);
}
