/* SPDX-License-Identifier: Apache-2.0
 * The runtimes put the name that CRI knows in the place of `source`, and the container's annotations beside
 * our metadata; but the one in Rust refuses a volume without a source, and the one in Go one without
 * metadata. */
#include "snapshotter/kata_volume.h"

#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "proto/base/json.h"

#include <string.h>

static json_t *metadata_of(const struct labels *labels)
{
	cleanup_json json_t *metadata = json_object();

	for (size_t i = 0; metadata && i < labels->n; i++)
		if (json_object_set_new(metadata, labels->items[i].key, json_string(labels->items[i].value)) <
		    0)
			return NULL;
	return take_ptr(metadata);
}

int kata_volume_option(char **out, const char *reference, const struct labels *labels)
{
	/* Pack takes the metadata over, and fails when there is none. */
	cleanup_json json_t *volume =
		json_pack("{s:s, s:s, s:{s:o}}", "volume_type", "image_guest_pull", "source", reference,
			  "image_pull", "metadata", metadata_of(labels));
	cleanup_free char *text = volume ? json_dumps(volume, JSON_COMPACT) : NULL;
	cleanup_buf struct buf option;
	size_t n = text ? strlen(text) : 0;

	if (!text)
		return -ENOMEM;
	buf_init(&option, strlen(KATA_VOLUME_OPTION) + base64_size(BASE64_STANDARD, n) + 1);
	buf_put(&option, KATA_VOLUME_OPTION, strlen(KATA_VOLUME_OPTION));
	base64_encode(&option, BASE64_STANDARD, text, n);
	buf_u8(&option, 0);
	if (buf_failed(&option))
		return -ENOMEM;
	*out = (char *)take_ptr(option.data);
	return 0;
}
