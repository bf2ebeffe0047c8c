/* SPDX-License-Identifier: Apache-2.0
 * A source config, then a NUL, then an /etc/passwd: what the publisher makes public of them is a config
 * again, and its user is made of numbers. */
#include "publisher/public_config.h"
#include "proto/base/cleanup.h"
#include "publisher/config_check.h"
#include "publisher/tree_nodes.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

static void put_passwd(struct tree *t, const uint8_t *data, size_t size)
{
	struct node_attr attr = {.mode = S_IFREG | 0644};
	struct node *n;

	if (tree_put(t, 0, "etc/passwd", &attr, &n, NULL) < 0 || tree_keep(t, n, data, size) < 0)
		abort();
	n->size = size;
	n->content = CONTENT_KEPT;
}

static void make(const uint8_t *json, size_t size, const struct oci_config *config, struct tree *t)
{
	const struct digest layers[2] = {{{1}}, {{2}}};
	cleanup_free char *user = NULL, *public = NULL;
	struct oci_config got;
	public_fields all;

	if (user_resolve(&user, config->user, t, NULL) < 0)
		return;
	fuzz_assert(strspn(user, "0123456789:") == strlen(user));
	fuzz_assert(public_fields_parse(&all, "all", NULL) == 0);
	fuzz_assert(public_config_make(&public, json, size, all, user, layers, 2, NULL) == 0);
	fuzz_assert(oci_config_decode(&got, public, strlen(public), NULL) == 0);
	fuzz_assert(got.n_diff_ids == 2 && strcmp(got.user, user) == 0);
	oci_config_deinit(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, 0, size) : NULL;
	size_t json_size = end ? (size_t)(end - data) : size;
	struct oci_config config;
	struct tree *t;

	if (config_check(data, json_size, NULL) < 0 || oci_config_decode(&config, data, json_size, NULL) < 0)
		return 0;
	if (tree_new(&t) < 0)
		abort();
	if (end)
		put_passwd(t, end + 1, size - json_size - 1);
	make(data, json_size, &config, t);
	tree_free(t);
	oci_config_deinit(&config);
	return 0;
}
