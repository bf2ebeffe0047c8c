/* SPDX-License-Identifier: Apache-2.0
 * Headers as registries send them, and as nobody should. */
#include "chunkstore/http_headers.h"
#include "chunkstore/http.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

Test(http_headers, reads_challenges)
{
	const struct {
		const char *text;
		int result;
		enum http_scheme scheme;
		const char *realm, *service;
	} cases[] = {
		{"Basic realm=\"x\"", 0, HTTP_AUTH_BASIC, "x", ""},
		{"basic", 0, HTTP_AUTH_BASIC, "", ""},
		{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a:pull\"", 0,
		 HTTP_AUTH_BEARER, "https://a/t", "s"},
		{"bearer realm=https, service = s", 0, HTTP_AUTH_BEARER, "https", "s"},
		{"Basic realm=\"x\", Bearer realm=\"y\"", 0, HTTP_AUTH_BEARER, "y", ""},
		{"Bearer realm=\"y\", Basic realm=\"x\"", 0, HTTP_AUTH_BEARER, "y", ""},
		{"Bearer realm=\"a\\\"b\"", 0, HTTP_AUTH_BEARER, "a\"b", ""},
		{"Negotiate", -ENOTSUP, 0, "", ""},
		{"Bearer", -ENOTSUP, 0, "", ""},
		{"Bearer service=\"x\"", -ENOTSUP, 0, "", ""},
		{"", -ENOTSUP, 0, "", ""},
		{",,,", -ENOTSUP, 0, "", ""},
		{"Bearer realm=\"open", -EINVAL, 0, "", ""},
		{"Bearer realm=\"tab\there\"", -EINVAL, 0, "", ""},
		{"Bearer realm=", -EINVAL, 0, "", ""},
		{"\"x\"", -EINVAL, 0, "", ""},
		{"Bearer=x", -EINVAL, 0, "", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_challenge c = {0};

		cr_assert_eq(http_challenge_decode(&c, cases[i].text, strlen(cases[i].text)), cases[i].result,
			     "%s", cases[i].text);
		cr_assert_eq(c.scheme, cases[i].scheme, "%s", cases[i].text);
		cr_assert_str_eq(c.realm, cases[i].realm);
		cr_assert_str_eq(c.service, cases[i].service);
	}
}

Test(http_headers, bounds_challenges)
{
	char text[4096];
	struct http_challenge c;
	int n = snprintf(text, sizeof(text), "Bearer realm=\"%01023d\"", 0);

	cr_assert_eq(http_challenge_decode(&c, text, (size_t)n), 0);
	n = snprintf(text, sizeof(text), "Bearer realm=\"%01024d\"", 0);
	cr_assert_eq(http_challenge_decode(&c, text, (size_t)n), -EINVAL);
}

Test(http_headers, reads_content_ranges)
{
	const struct {
		const char *text;
		int result;
		uint64_t first, last, total;
		bool has_total;
	} cases[] = {
		{"bytes 0-0/1", 0, 0, 0, 1, true},
		{"bytes 5-9/10", 0, 5, 9, 10, true},
		{"bytes 5-9/*", 0, 5, 9, 0, false},
		{"bytes 0-18446744073709551614/18446744073709551615", 0, 0, UINT64_MAX - 1, UINT64_MAX, true},
		{"bytes 5-10/10", -EINVAL, 0, 0, 0, false},
		{"bytes 9-5/10", -EINVAL, 0, 0, 0, false},
		{"bytes 0-18446744073709551616/*", -EINVAL, 0, 0, 0, false},
		{"bytes */10", -EINVAL, 0, 0, 0, false},
		{"bytes 0-1", -EINVAL, 0, 0, 0, false},
		{"bytes -1-1/3", -EINVAL, 0, 0, 0, false},
		{"bytes 0-1/3x", -EINVAL, 0, 0, 0, false},
		{"items 0-1/3", -EINVAL, 0, 0, 0, false},
		{"", -EINVAL, 0, 0, 0, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_range r = {0};

		cr_assert_eq(http_content_range_decode(&r, cases[i].text, strlen(cases[i].text)),
			     cases[i].result, "%s", cases[i].text);
		cr_assert_eq(r.first, cases[i].first);
		cr_assert_eq(r.last, cases[i].last);
		cr_assert_eq(r.total, cases[i].total);
		cr_assert_eq(r.has_total, cases[i].has_total);
	}
}

Test(http_headers, reads_how_much_of_an_upload_came)
{
	const struct {
		const char *text;
		int result;
		uint64_t received;
	} cases[] = {{"0-0", 0, 0},
		     {"0-9", 0, 10},
		     {"bytes=0-9", 0, 10},
		     {"1-9", -EINVAL, 7},
		     {"0-18446744073709551615", -EINVAL, 7},
		     {"0-", -EINVAL, 7},
		     {"0-9 x", -EINVAL, 7}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t received = 7;

		cr_assert_eq(http_upload_range_decode(&received, cases[i].text, strlen(cases[i].text)),
			     cases[i].result);
		cr_assert_eq(received, cases[i].received);
	}
}

Test(http_headers, compares_origins_as_they_are_connected_to)
{
	char a[HTTP_ORIGIN_SIZE], b[HTTP_ORIGIN_SIZE];

	cr_assert_eq(http_url_origin("https://Host.example/x?y", a), 0);
	cr_assert_eq(http_url_origin("https://host.example:443/z", b), 0);
	cr_assert_str_eq(a, b);
	cr_assert_eq(http_url_origin("https://user@host.example", b), 0);
	cr_assert_str_eq(a, b);
	cr_assert_eq(http_url_origin("http://host.example", b), 0);
	cr_assert_str_neq(a, b);
	cr_assert_eq(http_url_origin("file:///etc/passwd", b), -EINVAL);
	cr_assert_eq(http_url_origin("not a url", b), -EINVAL);
}

Test(http_headers, builds_urls)
{
	char url[HTTP_MAX_URL];

	cr_assert_eq(http_url_resolve("https://h/v2/a/", "/v2/b?x=1", url), 0);
	cr_assert_str_eq(url, "https://h/v2/b?x=1");
	cr_assert_eq(http_url_add(url, "digest", "sha256:ab&c"), 0);
	cr_assert_not_null(strstr(url, "x=1&digest=sha256%3"));
	cr_assert_null(strstr(url, "ab&c"));
	cr_assert_eq(http_url_resolve("https://h/v2/a/", "https://other/z", url), 0);
	cr_assert_str_eq(url, "https://other/z");
	cr_assert_eq(http_url_resolve("https://h/v2/a/", "", url), -EINVAL);
}
