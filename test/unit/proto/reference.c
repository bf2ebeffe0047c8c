/* SPDX-License-Identifier: Apache-2.0
 * Image names as users type them, the defaults of container tools, and what is no name. */
#include "proto/oci/reference.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

Test(reference, parts_and_defaults)
{
	static const struct {
		const char *text, *registry, *repository, *tag;
		bool digest;
	} good[] = {
		{"debian", "docker.io", "library/debian", "latest", false},
		{"debian:12", "docker.io", "library/debian", "12", false},
		{"user/app", "docker.io", "user/app", "latest", false},
		{"docker.io/debian", "docker.io", "library/debian", "latest", false},
		{"localhost/app", "localhost", "app", "latest", false},
		{"localhost:5000/app", "localhost:5000", "app", "latest", false},
		{"127.0.0.1:5000/a/b/c:v1.2_3-x", "127.0.0.1:5000", "a/b/c", "v1.2_3-x", false},
		{"[::1]:5000/app:1", "[::1]:5000", "app", "1", false},
		{"ghcr.io/a/b@sha256:" HEX, "ghcr.io", "a/b", "", true},
		{"ghcr.io/a/b:t@sha256:" HEX, "ghcr.io", "a/b", "t", true},
		{"r.example/a__b/c--d/e.f", "r.example", "a__b/c--d/e.f", "latest", false},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct reference r;
		struct err e = {""};

		cr_assert_eq(reference_parse(&r, good[i].text, &e), 0, "%s: %s", good[i].text, e.text);
		cr_assert_not(r.layout);
		cr_assert_str_eq(r.registry, good[i].registry);
		cr_assert_str_eq(r.repository, good[i].repository);
		cr_assert_str_eq(r.tag, good[i].tag);
		cr_assert_eq(r.has_digest, good[i].digest);
	}
}

Test(reference, layouts)
{
	static const struct {
		const char *text, *path, *tag;
	} good[] = {
		{"oci:dir", "dir", ""},
		{"oci:dir:v1", "dir", "v1"},
		{"oci:/a/b c/d:v1", "/a/b c/d", "v1"},
		{"oci:/a:b/d", "/a:b/d", ""},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct reference r;

		cr_assert_eq(reference_parse(&r, good[i].text, NULL), 0, "%s", good[i].text);
		cr_assert(r.layout);
		cr_assert_str_eq(r.path, good[i].path);
		cr_assert_str_eq(r.tag, good[i].tag);
	}
}

Test(reference, text_reads_back_as_the_same)
{
	static const char *const names[] = {
		"debian",
		"oci:/a/b:v1",
		"oci:dir",
		"r.example/a:t",
		"r.example/a@sha256:" HEX,
		"r.example/a:t@sha256:" HEX,
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[REFERENCE_TEXT_SIZE], again[REFERENCE_TEXT_SIZE];
		struct reference r;

		cr_assert_eq(reference_parse(&r, names[i], NULL), 0);
		(void)reference_text(&r, text);
		cr_assert_eq(reference_parse(&r, text, NULL), 0, "%s", text);
		cr_assert_str_eq(reference_text(&r, again), text);
	}
}

Test(reference, refuses_what_is_no_name)
{
	static const char *const bad[] = {
		"",
		":",
		"@",
		"/",
		"a:",
		"a@",
		"A",
		"a//b",
		"a/",
		"/a",
		"-a",
		"a-",
		"a..b",
		"a b",
		"a:t t",
		"a:-t",
		"a:.t",
		"r.example/",
		"r.example/A",
		"r.example:80:90/a b",
		"r.example/a@sha256:0123",
		"r.example/a@sha512:" HEX,
		"r.example/a@sha256:" HEX "0",
		"r.example/a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
		"r.example/a@sha256:" HEX "@sha256:" HEX,
		"user:password@r.example/a",
		"r.exa\nmple/a",
		"oci:",
		"oci::t",
		"oci:dir:",
		"oci:dir:-",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct reference r = {.layout = true, .path = "untouched"};

		cr_assert_eq(reference_parse(&r, bad[i], NULL), -EINVAL, "'%s'", bad[i]);
		cr_assert_str_eq(r.path, "untouched");
	}
}

Test(reference, refuses_what_is_too_long)
{
	char text[2 * REFERENCE_TEXT_SIZE];
	struct reference r;

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	cr_assert_eq(reference_parse(&r, text, NULL), -EINVAL);
	memcpy(text, "oci:", 4);
	cr_assert_eq(reference_parse(&r, text, NULL), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[256] = '\0';
	cr_assert_eq(reference_parse(&r, text, NULL), -EINVAL, "repository of 256");
	text[250] = '\0';
	cr_assert_eq(reference_parse(&r, text, NULL), -EINVAL, "of 258 with library/");
	text[2] = ':';
	text[3 + 129] = '\0';
	cr_assert_eq(reference_parse(&r, text, NULL), -EINVAL, "tag of 129");
	text[3 + 128] = '\0';
	cr_assert_eq(reference_parse(&r, text, NULL), 0, "tag of 128");
}
