/* SPDX-License-Identifier: Apache-2.0
 * Manifests, indexes, configs and platforms from JSON that nobody vouches for: [M1], [M2] of FORMAT.md and
 * what the image-spec forbids. */
#include "proto/oci/manifest.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX(c)                                                                                               \
	c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c  \
		c c c c c c c c c c c c c c
#define DIGEST(c) "sha256:" HEX(c)
#define BLOB(type, c, size) "{\"mediaType\":\"" type "\",\"digest\":\"" DIGEST(c) "\",\"size\":" size "}"
#define CONFIG BLOB(OCI_TYPE_CONFIG, "c", "100")
#define PLAIN(c) BLOB("application/vnd.oci.image.layer.v1.tar+gzip", c, "5")
#define DATA(c) BLOB(MEDIA_TYPE_LAYER, c, "7")
#define INDEX(c) BLOB(MEDIA_TYPE_INDEX, c, "9")
#define IMAGE(layers) "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" layers "]}"

static int decode(const char *json, struct oci_manifest *m, struct err *e)
{
	return oci_manifest_decode(m, json, strlen(json), e);
}

Test(manifest, plain_image)
{
	struct oci_manifest m;
	struct err e = {""};

	cr_assert_eq(decode(IMAGE(PLAIN("1") "," PLAIN("2")), &m, &e), 0, "%s", e.text);
	cr_assert_eq(m.kind, OCI_MANIFEST);
	cr_assert_eq(m.n_layers, 2);
	cr_assert_not(m.sealed);
	cr_assert_null(m.keys_jwe);
	cr_assert_eq(m.config.size, 100);
	cr_assert_eq(m.layers[1].digest.bytes[0], 0x22);
	cr_assert_str_eq(m.layers[0].media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
	oci_manifest_deinit(&m);
	oci_manifest_deinit(&m);
}

Test(manifest, sealed_image_with_keys)
{
	struct oci_manifest m;
	struct err e = {""};

	cr_assert_eq(decode(IMAGE(DATA("1") "," DATA(
				    "1") ",{\"mediaType\":\"" MEDIA_TYPE_INDEX
					 "\",\"digest\":\"" DIGEST(
						 "2") "\",\"size\":9,\"annotations\":{\"" ANNOTATION_JWE
						      "\":\"abc\",\"" ANNOTATION_PROVIDER "\":\"def\"}}"),
			    &m, &e),
		     0, "%s", e.text);
	cr_assert(m.sealed);
	cr_assert_eq(m.n_layers, 3, "one data blob may stand twice");
	cr_assert_str_eq(m.keys_jwe, "abc");
	cr_assert_str_eq(m.keys_provider, "def");
	oci_manifest_deinit(&m);
	cr_assert_eq(decode(IMAGE(DATA("1") "," INDEX("2")), &m, &e), 0, "%s", e.text);
	cr_assert_null(m.keys_jwe);
	cr_assert_null(m.keys_provider);
	oci_manifest_deinit(&m);
}

Test(manifest, index_of_images)
{
	struct oci_platform want;
	const struct oci_entry *chosen;
	struct oci_manifest m;
	struct err e = {""};

	cr_assert_eq(decode("{\"schemaVersion\":2,\"mediaType\":\"" OCI_TYPE_INDEX "\",\"manifests\":["
			    "{\"mediaType\":\"" OCI_TYPE_MANIFEST "\",\"digest\":\"" DIGEST(
				    "1") "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":"
					 "\"arm64\",\"variant\":\"v8\"}},"
					 "{\"mediaType\":\"" OCI_TYPE_MANIFEST "\",\"digest\":\"" DIGEST(
						 "2") "\",\"size\":2,\"platform\":{\"os\":\"linux\","
						      "\"architecture\":\"amd64\"},"
						      "\"annotations\":{\"org.opencontainers.image.ref."
						      "name\":\"v1\"}}]}",
			    &m, &e),
		     0, "%s", e.text);
	cr_assert_eq(m.kind, OCI_INDEX);
	cr_assert_eq(m.n_entries, 2);
	cr_assert_str_eq(m.entries[1].ref_name, "v1");
	cr_assert_eq(oci_platform_parse(&want, "linux/arm64", &e), 0);
	cr_assert_eq(oci_index_choose(&chosen, &m, &want, &e), 0);
	cr_assert_eq(chosen, &m.entries[0], "the variant was not asked for");
	cr_assert_eq(oci_platform_parse(&want, "linux/amd64", &e), 0);
	cr_assert_eq(oci_index_choose(&chosen, &m, &want, &e), 0);
	cr_assert_eq(chosen, &m.entries[1]);
	cr_assert_eq(oci_platform_parse(&want, "linux/arm64/v7", &e), 0);
	cr_assert_eq(oci_index_choose(&chosen, &m, &want, &e), -ENOENT);
	oci_manifest_deinit(&m);
}

Test(manifest, docker_schema_2)
{
	struct oci_manifest m;

	cr_assert_eq(decode("{\"schemaVersion\":2,\"mediaType\":\"" DOCKER_TYPE_MANIFEST
			    "\",\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "]}",
			    &m, NULL),
		     0);
	oci_manifest_deinit(&m);
	cr_assert_eq(decode("{\"schemaVersion\":2,\"mediaType\":\"" DOCKER_TYPE_LIST "\",\"manifests\":[]}",
			    &m, NULL),
		     0);
	cr_assert_eq(m.kind, OCI_INDEX);
	oci_manifest_deinit(&m);
}

static const struct {
	const char *what, *json;
	int code;
} bad[] = {
	{"empty", "", -EUCLEAN},
	{"not JSON", "hello", -EUCLEAN},
	{"cut", "{\"schemaVersion\":2,", -EUCLEAN},
	{"bytes behind", IMAGE(PLAIN("1")) "x", -EUCLEAN},
	{"not UTF-8", "{\"schemaVersion\":2,\"a\":\"\xff\"}", -EUCLEAN},
	{"an array", "[]", -EUCLEAN},
	{"[M2] duplicate key",
	 "{\"schemaVersion\":2,\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "]}",
	 -EUCLEAN},
	{"schema 1", "{\"schemaVersion\":1,\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "]}", -ENOTSUP},
	{"schema as text", "{\"schemaVersion\":\"2\",\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "]}",
	 -ENOTSUP},
	{"no schema", "{\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "]}", -ENOTSUP},
	{"image and index in one",
	 "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" PLAIN("1") "],\"manifests\":[]}",
	 -EUCLEAN},
	{"neither image nor index", "{\"schemaVersion\":2}", -EUCLEAN},
	{"index that calls itself image",
	 "{\"schemaVersion\":2,\"mediaType\":\"" OCI_TYPE_MANIFEST "\",\"manifests\":[]}", -EUCLEAN},
	{"image that calls itself index",
	 "{\"schemaVersion\":2,\"mediaType\":\"" OCI_TYPE_INDEX "\",\"config\":" CONFIG
	 ",\"layers\":[" PLAIN("1") "]}",
	 -EUCLEAN},
	{"no layer", IMAGE(""), -EUCLEAN},
	{"layers not a list", "{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", -EUCLEAN},
	{"no config", "{\"schemaVersion\":2,\"layers\":[" PLAIN("1") "]}", -EUCLEAN},
	{"layer not an object", IMAGE("5"), -EUCLEAN},
	{"layer without digest", IMAGE("{\"mediaType\":\"x\",\"size\":1}"), -EUCLEAN},
	{"digest of another algorithm", IMAGE("{\"mediaType\":\"x\",\"size\":1,\"digest\":\"sha512:00\"}"),
	 -EUCLEAN},
	{"digest as a number", IMAGE("{\"mediaType\":\"x\",\"size\":1,\"digest\":5}"), -EUCLEAN},
	{"no size", IMAGE("{\"mediaType\":\"x\",\"digest\":\"" DIGEST("1") "\"}"), -EUCLEAN},
	{"negative size", IMAGE(BLOB("x", "1", "-1")), -EUCLEAN},
	{"size that is no integer", IMAGE(BLOB("x", "1", "1.5")), -EUCLEAN},
	{"size over 2^53", IMAGE(BLOB("x", "1", "9007199254740993")), -EUCLEAN},
	{"size past 64 bits", IMAGE(BLOB("x", "1", "99999999999999999999")), -EUCLEAN},
	{"media type of 128", IMAGE(BLOB(HEX("y") HEX("y"), "1", "1")), -EUCLEAN},
	{"[M1] index alone", IMAGE(INDEX("1")), -EUCLEAN},
	{"[M1] index in front", IMAGE(INDEX("1") "," DATA("2")), -EUCLEAN},
	{"[M1] two indexes", IMAGE(DATA("1") "," INDEX("2") "," INDEX("3")), -EUCLEAN},
	{"[M1] data blob without index", IMAGE(DATA("1") "," DATA("2")), -EUCLEAN},
	{"[M1] plain layer in a sealed image", IMAGE(PLAIN("1") "," INDEX("2")), -EUCLEAN},
	{"[M1] sealed layer in a plain image", IMAGE(DATA("1") "," PLAIN("2")), -EUCLEAN},
	{"[M1] the index again", IMAGE(DATA("1") "," INDEX("1")), -EUCLEAN},
	{"keys that are no string",
	 IMAGE(DATA("1") ",{\"mediaType\":\"" MEDIA_TYPE_INDEX "\",\"digest\":\"" DIGEST(
		 "2") "\",\"size\":9,\"annotations\":{\"" ANNOTATION_JWE "\":[]}}"),
	 -EUCLEAN},
	{"a provider's keys that are no string",
	 IMAGE(DATA("1") ",{\"mediaType\":\"" MEDIA_TYPE_INDEX "\",\"digest\":\"" DIGEST(
		 "2") "\",\"size\":9,\"annotations\":{\"" ANNOTATION_PROVIDER "\":[]}}"),
	 -EUCLEAN},
	{"entries not a list", "{\"schemaVersion\":2,\"manifests\":{}}", -EUCLEAN},
	{"entry without digest", "{\"schemaVersion\":2,\"manifests\":[{}]}", -EUCLEAN},
	{"platform of 32 letters",
	 "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" DIGEST(
		 "1") "\",\"size\":1,\"platform\":{\"os\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}]}",
	 -EUCLEAN},
};

Test(manifest, refuses_what_is_wrong)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct oci_manifest m = {.n_layers = 77};
		struct err e = {""};

		cr_assert_eq(decode(bad[i].json, &m, &e), bad[i].code, "%s: %s", bad[i].what, e.text);
		cr_assert_eq(m.n_layers, 77, "%s", bad[i].what);
		if (strncmp(bad[i].what, "[M1]", 4) == 0)
			cr_assert_not_null(strstr(e.text, "[M1]"), "%s: %s", bad[i].what, e.text);
	}
}

/* An image of n layers of one type, the last of another. */
static char *many_layers(unsigned n, const char *type, const char *last)
{
	static char json[1 << 20];
	size_t at = (size_t)sprintf(json, "{\"schemaVersion\":2,\"config\":%s,\"layers\":[", CONFIG);

	for (unsigned i = 0; i < n; i++)
		at += (size_t)sprintf(json + at,
				      "%s{\"mediaType\":\"%s\",\"size\":1,\"digest\":\"sha256:%064x\"}",
				      i ? "," : "", i + 1 < n ? type : last, i);
	(void)sprintf(json + at, "]}");
	return json;
}

Test(manifest, counts_have_limits)
{
	struct oci_manifest m;
	struct err e = {""};

	cr_assert_eq(decode(many_layers(OCI_MAX_LAYERS, "x", "x"), &m, &e), 0, "%s", e.text);
	oci_manifest_deinit(&m);
	cr_assert_eq(decode(many_layers(OCI_MAX_LAYERS + 1, "x", "x"), &m, &e), -EUCLEAN);
	cr_assert_eq(decode(many_layers(128, MEDIA_TYPE_LAYER, MEDIA_TYPE_INDEX), &m, &e), 0, "%s", e.text);
	oci_manifest_deinit(&m);
	cr_assert_eq(decode(many_layers(129, MEDIA_TYPE_LAYER, MEDIA_TYPE_INDEX), &m, &e), -EUCLEAN);
	cr_assert_not_null(strstr(e.text, "[M1]"));
}

Test(manifest, size_and_nesting_have_limits)
{
	static char json[OCI_MAX_DOCUMENT + 2];
	struct oci_manifest m;
	struct err e = {""};
	size_t n;

	memset(json, ' ', sizeof(json));
	memcpy(json, IMAGE(PLAIN("1")), strlen(IMAGE(PLAIN("1"))));
	cr_assert_eq(oci_manifest_decode(&m, json, OCI_MAX_DOCUMENT, &e), 0, "%s", e.text);
	oci_manifest_deinit(&m);
	cr_assert_eq(oci_manifest_decode(&m, json, OCI_MAX_DOCUMENT + 1, &e), -E2BIG);
	memset(json, ' ', sizeof(json));
	memcpy(json, IMAGE(DATA("1") "," INDEX("2")), strlen(IMAGE(DATA("1") "," INDEX("2"))));
	cr_assert_eq(oci_manifest_decode(&m, json, MAX_MANIFEST_SIZE, &e), 0, "%s", e.text);
	oci_manifest_deinit(&m);
	cr_assert_eq(oci_manifest_decode(&m, json, MAX_MANIFEST_SIZE + 1, &e), -E2BIG, "[M2]");
	/* a million levels neither overflow the stack nor pass */
	n = (size_t)sprintf(json, "{\"a\":");
	memset(json + n, '[', 1000000);
	cr_assert_eq(oci_manifest_decode(&m, json, n + 1000000, &e), -EUCLEAN);
}

/* {"schemaVersion":2,…,"a":[[[…]]]}: the outer object and n arrays in it. */
static int nested(unsigned n)
{
	char json[2048];
	struct oci_manifest m;
	size_t at = (size_t)sprintf(json, "{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s],\"a\":", CONFIG,
				    PLAIN("1"));
	int r;

	memset(json + at, '[', n);
	memset(json + at + n, ']', n);
	at += (size_t)2 * n;
	json[at++] = '}';
	r = oci_manifest_decode(&m, json, at, NULL);
	if (r == 0)
		oci_manifest_deinit(&m);
	return r;
}

Test(manifest, nests_at_most_64_deep)
{
	cr_assert_eq(nested(63), 0);
	cr_assert_eq(nested(64), -EUCLEAN, "[M2]");
}

Test(config, what_we_need_of_it)
{
	static const char json[] =
		"{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\","
		"\"config\":{\"User\":\"1000:1000\",\"Env\":[\"A=b\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST("1") "\",\"" DIGEST("2") "\"]}}";
	struct oci_config c;
	struct err e = {""};

	cr_assert_eq(oci_config_decode(&c, json, strlen(json), &e), 0, "%s", e.text);
	cr_assert_str_eq(c.platform.variant, "v8");
	cr_assert_eq(c.n_diff_ids, 2);
	cr_assert_eq(c.diff_ids[1].bytes[31], 0x22);
	cr_assert_str_eq(c.user, "1000:1000");
	oci_config_deinit(&c);
	oci_config_deinit(&c);
}

Test(config, user_and_platform_may_be_absent)
{
	static const char json[] = "{\"rootfs\":{\"diff_ids\":[]}}";
	struct oci_config c;

	cr_assert_eq(oci_config_decode(&c, json, strlen(json), NULL), 0);
	cr_assert_str_eq(c.user, "");
	cr_assert_str_eq(c.platform.os, "");
	cr_assert_eq(c.n_diff_ids, 0);
	oci_config_deinit(&c);
}

Test(config, refuses_what_is_wrong)
{
	static const char *const wrong[] = {
		"",
		"null",
		"{}",
		"{\"rootfs\":[]}",
		"{\"rootfs\":{}}",
		"{\"rootfs\":{\"diff_ids\":{}}}",
		"{\"rootfs\":{\"diff_ids\":[5]}}",
		"{\"rootfs\":{\"diff_ids\":[\"sha256:00\"]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"rootfs\":{\"diff_ids\":[]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"os\":5}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":5}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":\"a\\u0000b\"}}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct oci_config c = {.n_diff_ids = 77};

		cr_assert_eq(oci_config_decode(&c, wrong[i], strlen(wrong[i]), NULL), -EUCLEAN, "%s",
			     wrong[i]);
		cr_assert_eq(c.n_diff_ids, 77);
	}
}

Test(platform, text)
{
	struct oci_platform p;

	cr_assert_eq(oci_platform_parse(&p, "linux/amd64", NULL), 0);
	cr_assert_str_eq(p.os, "linux");
	cr_assert_str_eq(p.architecture, "amd64");
	cr_assert_str_eq(p.variant, "");
	cr_assert_eq(oci_platform_parse(&p, "linux/arm/v7", NULL), 0);
	cr_assert_str_eq(p.variant, "v7");
	oci_platform_host(&p);
	cr_assert_str_eq(p.os, "linux");
}

Test(platform, refuses_other_text)
{
	static const char *const wrong[] = {
		"",
		"linux",
		"linux/",
		"/amd64",
		"linux/amd64/",
		"linux/amd64/v1/x",
		"Linux/amd64",
		"linux/amd64 ",
		"linux//v7",
		"linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct oci_platform p = {.os = "x"};

		cr_assert_eq(oci_platform_parse(&p, wrong[i], NULL), -EINVAL, "'%s'", wrong[i]);
		cr_assert_str_eq(p.os, "x");
	}
}

/* A list of n empty objects costs eighty times its length in memory. */
static int many(unsigned n)
{
	static char json[1 << 20];
	size_t at = (size_t)sprintf(json, "{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s],\"a\":[",
				    CONFIG, PLAIN("1"));
	struct oci_manifest m;
	int r;

	for (unsigned i = 0; i < n; i++, at += 3)
		memcpy(json + at, "{},", 3);
	at += (size_t)sprintf(json + at, "0]}");
	r = oci_manifest_decode(&m, json, at, NULL);
	if (r == 0)
		oci_manifest_deinit(&m);
	return r;
}

Test(manifest, has_so_many_values_at_most)
{
	cr_assert_eq(many(32000), 0);
	cr_assert_eq(many(33000), -EUCLEAN, "[M2]");
}
