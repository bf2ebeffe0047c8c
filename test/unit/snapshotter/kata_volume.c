/* SPDX-License-Identifier: Apache-2.0
 * The volume as Kata's runtimes decode it: base64, JSON, fields. */
#include "snapshotter/kata_volume.h"

#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "proto/base/json.h"

#include <criterion/criterion.h>
#include <string.h>

#define REFERENCE "r.example/x@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* The JSON inside the option. */
static void decode(const char *option, struct buf *to)
{
	cr_assert_eq(strncmp(option, "io.katacontainers.volume=", 25), 0);
	buf_init(to, 1u << 20);
	cr_assert_eq(base64_decode(to, BASE64_STANDARD, option + 25, strlen(option + 25)), 0);
	buf_u8(to, 0);
}

Test(kata_volume, is_json_in_base64_byte_for_byte)
{
	cleanup_labels struct labels labels = {0};
	cleanup_free char *option = NULL;
	cleanup_buf struct buf json;

	cr_assert_eq(labels_set(&labels, "b", "2", NULL), 0);
	cr_assert_eq(labels_set(&labels, "a", "one \"quoted\", caf\u00e9", NULL), 0);
	cr_assert_eq(kata_volume_option(&option, REFERENCE, &labels), 0);
	decode(option, &json);
	cr_assert_str_eq(
		(const char *)json.data,
		"{\"volume_type\":\"image_guest_pull\",\"source\":\"" REFERENCE "\","
		"\"image_pull\":{\"metadata\":{\"a\":\"one \\\"quoted\\\", caf\u00e9\",\"b\":\"2\"}}}");
}

/* The runtime in Go refuses an image_pull whose metadata is null. */
Test(kata_volume, has_metadata_without_labels)
{
	static const struct labels none;
	cleanup_free char *option = NULL;
	cleanup_buf struct buf json;

	cr_assert_eq(kata_volume_option(&option, "r/x", &none), 0);
	decode(option, &json);
	cr_assert_str_eq((const char *)json.data, "{\"volume_type\":\"image_guest_pull\",\"source\":\"r/x\","
						  "\"image_pull\":{\"metadata\":{}}}");
}

/* CRI fills cri.image-layers up to the limit of a label. */
Test(kata_volume, holds_the_longest_labels)
{
	cleanup_labels struct labels labels = {0};
	cleanup_free char *option = NULL, *value = malloc(LABEL_MAX_SIZE);
	cleanup_json json_t *volume = NULL;
	cleanup_buf struct buf json;
	struct err e = {""};
	json_t *metadata;
	char key[2] = "a";

	memset(value, 'x', LABEL_MAX_SIZE - 1);
	value[LABEL_MAX_SIZE - 1] = '\0';
	for (; *key < 'a' + 16; (*key)++)
		cr_assert_eq(labels_set(&labels, key, value, NULL), 0);
	cr_assert_eq(kata_volume_option(&option, REFERENCE, &labels), 0);
	cr_assert_null(strchr(option, ','), "a comma would end the option");
	decode(option, &json);
	cr_assert_eq(json_object_parse(&volume, json.data, json.size - 1, 1u << 20, "volume", &e), 0, "%s",
		     e.text);
	metadata = json_object_get(json_object_get(volume, "image_pull"), "metadata");
	cr_assert_eq(json_object_size(metadata), 16);
	cr_assert_str_eq(json_string_value(json_object_get(metadata, "p")), value);
}
