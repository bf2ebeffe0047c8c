/* SPDX-License-Identifier: Apache-2.0
 * What is left public of a config, users as numbers, the manifest, and configs that are refused. */
#include "publisher/public_config.h"
#include "proto/base/cleanup.h"
#include "publisher/config_check.h"
#include "publisher/tree_nodes.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

static const char source[] =
	"{\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\",\"created\":\"2026-01-01T00:00:00Z\","
	"\"author\":\"me\","
	"\"config\":{\"User\":\"app\",\"Env\":[\"TOKEN=1\"],\"Cmd\":[\"run\"],\"Labels\":{\"a\":\"b\"},"
	"\"WorkingDir\":\"/x\"},"
	"\"history\":[{\"created_by\":\"a\"},{\"empty_layer\":true,\"created_by\":\"b\"}],"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:x\"]}}";

static const struct digest layers[2] = {{{1}}, {{2}}};
static struct err e;

static char *made(const char *json, const char *fields, const char *user)
{
	public_fields set = 0;
	char *out;

	if (fields)
		cr_assert_eq(public_fields_parse(&set, fields, &e), 0, "%s", e.text);
	cr_assert_eq(public_config_make(&out, json, strlen(json), set, user, layers, 2, &e), 0, "%s", e.text);
	return out;
}

#define DIFF_IDS                                                                                             \
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":["                                                     \
	"\"sha256:0100000000000000000000000000000000000000000000000000000000000000\","                       \
	"\"sha256:0200000000000000000000000000000000000000000000000000000000000000\"]}}"

Test(public_config, says_platform_user_and_layers_and_nothing_else)
{
	cleanup_free char *got = made(source, NULL, "1000:1000");

	cr_expect_str_eq(got, "{\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\",\"config\":{"
			      "\"User\":\"1000:1000\"}," DIFF_IDS);
}

Test(public_config, adds_what_was_asked_for)
{
	cleanup_free char *got = made(source, "Env,Cmd", "");
	cleanup_free char *all = made(source, "all", "7");

	cr_expect_str_eq(got, "{\"architecture\":\"arm\",\"variant\":\"v7\",\"os\":\"linux\",\"config\":{"
			      "\"Env\":[\"TOKEN=1\"],"
			      "\"Cmd\":[\"run\"]}," DIFF_IDS);
	cr_expect_not_null(strstr(all, "\"created\":\"2026"));
	/* one entry with content for each layer: the index has its own */
	cr_expect_not_null(
		strstr(all, "{\"empty_layer\":true,\"created_by\":\"b\"},{\"comment\":\"cocoon index\"}]"));
	cr_expect_null(strstr(all, "author"));
}

Test(public_config, leaves_out_a_history_that_does_not_fit)
{
	cleanup_free char *got = made("{\"os\":\"linux\",\"history\":[{},{}],\"rootfs\":{}}", "history", "");

	cr_expect_null(strstr(got, "history"));
}

Test(public_config, knows_its_fields)
{
	public_fields f;

	cr_expect_eq(public_fields_parse(&f, "", &e), -EINVAL);
	cr_expect_eq(public_fields_parse(&f, "Env,", &e), -EINVAL);
	cr_expect_eq(public_fields_parse(&f, "env", &e), -EINVAL);
	cr_expect_eq(public_fields_parse(&f, "Environment", &e), -EINVAL);
	cr_expect_eq(public_fields_parse(&f, "Labels,created,Volumes", &e), 0);
}

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "app:x:1000:1001::/:\n"
			     "broken:x:12\n"
			     "negative:x:-1:0::/:\n"
			     "nogroup:x:5::\n"
			     "last:x:4294967294:9:::";

static void put_file(struct tree *t, const char *path, const char *text)
{
	struct node_attr attr = {.mode = S_IFREG | 0644};
	struct node *n;

	cr_assert_eq(tree_put(t, 0, path, &attr, &n, &e), 0, "%s", e.text);
	cr_assert_eq(tree_keep(t, n, text, strlen(text)), 0);
	n->size = strlen(text);
	n->content = CONTENT_KEPT;
}

Test(user_resolve, finds_numbers_in_the_image)
{
	static const char *const good[][2] = {
		{"", ""},
		{"0", "0:0"},
		{"1000", "1000:1001"},
		{"4242", "4242"},
		{"5", "5"},
		{"12:34", "12:34"},
		{"app", "1000:1001"},
		{"app:staff", "1000:50"},
		{"7:staff", "7:50"},
		{"app:3", "1000:3"},
		{"last", "4294967294:9"},
	};
	static const char *const bad[] = {"nobody", "app:nobody", "broken",	"negative", "nogroup", ":",
					  "app:",   ":0",	  "4294967295", "-1",	    "1 ",      "roo"};
	struct tree *t;

	cr_assert_eq(tree_new(&t), 0);
	put_file(t, "etc/passwd", passwd);
	put_file(t, "etc/group", "root:x:0:\nstaff:x:50:app\n");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cleanup_free char *got = NULL;

		cr_assert_eq(user_resolve(&got, good[i][0], t, &e), 0, "%s: %s", good[i][0], e.text);
		cr_expect_str_eq(got, good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *got;

		cr_expect_eq(user_resolve(&got, bad[i], t, &e), -EUCLEAN, "%s", bad[i]);
	}
	tree_free(t);
}

Test(user_resolve, refuses_a_name_without_passwd)
{
	struct tree *t;
	char *got;

	cr_assert_eq(tree_new(&t), 0);
	cr_expect_eq(user_resolve(&got, "app", t, &e), -EUCLEAN);
	tree_free(t);
}

Test(sealed_manifest, is_read_as_a_sealed_image)
{
	const struct oci_blob blobs[] = {
		{.digest = {{1}}, .size = 0}, {.digest = {{1}}, .size = 0}, {.digest = {{2}}, .size = 5000}};
	struct manifest_parts parts = {
		.config = {.digest = {{3}}, .size = 9}, .layers = blobs, .n_layers = 3, .jwe = "abc,def"};
	struct oci_manifest m;
	char *json;

	cr_assert_eq(sealed_manifest_make(&json, &parts, &e), 0);
	cr_assert_eq(oci_manifest_decode(&m, json, strlen(json), &e), 0, "%s", e.text);
	cr_expect(m.sealed);
	cr_expect_eq(m.n_layers, 3u);
	cr_expect_str_eq(m.keys_jwe, "abc,def");
	cr_expect_eq(m.layers[2].size, 5000u);
	oci_manifest_deinit(&m);
	free(json);
}

Test(config_check, takes_what_the_spec_allows)
{
	static const char *const good[] = {
		"{\"rootfs\":{\"type\":\"layers\"}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":null}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Env\":null,\"Volumes\":{\"/a\":{}}}}",
	};
	static const char *const bad[] = {
		"{}",
		"{\"rootfs\":{\"type\":\"tree\"}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":[]}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Env\":{}}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Cmd\":\"run\"}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Entrypoint\":[1]}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Labels\":{\"a\":1}}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"Volumes\":{\"/a\":\"x\"}}}",
		"{\"rootfs\":{\"type\":\"layers\"},\"config\":{\"User\":0}}",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_expect_eq(config_check(good[i], strlen(good[i]), &e), 0, "%s: %s", good[i], e.text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(config_check(bad[i], strlen(bad[i]), &e), -EUCLEAN, "%s", bad[i]);
	cr_expect_eq(config_media_type_check("application/vnd.cncf.helm.config.v1+json", &e), -ENOTSUP);
	cr_expect_eq(config_media_type_check(OCI_TYPE_CONFIG, &e), 0);
}
