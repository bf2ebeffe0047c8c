/* SPDX-License-Identifier: Apache-2.0
 * The source image: manifest and config, checked against each other before any layer is read. */
#include "publisher/image_source.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"
#include "publisher/config_check.h"
#include "publisher/layer_reader.h"
#include "publisher/repository.h"

#include <errno.h>
#include <stdlib.h>

struct image_source {
	struct repository *repository;
	struct digest digest;
	struct oci_manifest manifest;
	struct oci_config config;
	struct buf config_json;
};

static int read_config(struct image_source *s, struct err *e)
{
	int r = config_media_type_check(s->manifest.config.media_type, e);

	if (r == 0)
		r = repository_read(s->repository, &s->manifest.config, &s->config_json, e);
	if (r == 0)
		r = oci_config_decode(&s->config, s->config_json.data, s->config_json.size, e);
	if (r == 0)
		r = config_check(s->config_json.data, s->config_json.size, e);
	if (r < 0)
		return err_prefix(e, r, "config");
	if (s->config.n_diff_ids != s->manifest.n_layers)
		return err_set(e, -EUCLEAN, "the config has %u diff_ids, the manifest %u layers",
			       s->config.n_diff_ids, s->manifest.n_layers);
	return 0;
}

/* What can be refused before anything is read. */
static int check_layers(const struct image_source *s, struct err *e)
{
	if (s->manifest.sealed)
		return err_set(e, -ENOTSUP, "the image is sealed already");
	if (s->manifest.n_layers == 0 || s->manifest.n_layers >= MAX_BLOBS)
		return err_set(e, -ENOTSUP, "the image has %u layers; 1 to %u can be sealed",
			       s->manifest.n_layers, MAX_BLOBS - 1);
	for (uint32_t i = 0; i < s->manifest.n_layers; i++) {
		int r = layer_media_type_check(s->manifest.layers[i].media_type, e);

		if (r < 0)
			return err_prefix(e, r, "layer %u", i);
	}
	return 0;
}

int image_source_open(struct image_source **out, const struct reference *ref,
		      const struct oci_platform *platform, const struct remote *remote, struct err *e)
{
	struct image_source *s = calloc(1, sizeof(*s));
	cleanup_buf struct buf json = {.max = OCI_MAX_DOCUMENT};
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	buf_init(&s->config_json, MAX_CONFIG_SIZE);
	r = repository_open(&s->repository, ref, remote, e);
	if (r == 0)
		r = repository_manifest(s->repository, platform, &json, &s->digest, &s->manifest, e);
	if (r == 0)
		r = check_layers(s, e);
	if (r == 0)
		r = read_config(s, e);
	if (r < 0) {
		image_source_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void image_source_close(struct image_source *s)
{
	if (!s)
		return;
	oci_manifest_deinit(&s->manifest);
	oci_config_deinit(&s->config);
	buf_deinit(&s->config_json);
	repository_close(s->repository);
	free(s);
}

const struct oci_manifest *image_source_manifest(const struct image_source *s)
{
	return &s->manifest;
}

const struct digest *image_source_digest(const struct image_source *s)
{
	return &s->digest;
}

const struct oci_config *image_source_config(const struct image_source *s)
{
	return &s->config;
}

const struct buf *image_source_config_json(const struct image_source *s)
{
	return &s->config_json;
}

int image_source_layer(struct image_source *s, uint32_t i, struct blob_stream **out, struct err *e)
{
	return repository_stream(s->repository, &s->manifest.layers[i], out, e);
}
