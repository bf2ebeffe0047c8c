/* SPDX-License-Identifier: Apache-2.0
 * Opening the parts in the order of their dependence, closing them in the opposite one, and the one question
 * that is not about chunks: what a snapshotter needs to know of an image. */
#include "chunkstore/chunkstore.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CACHE (64ull << 20) /* less could not hold what a few guests wait for at one time */

static int open_parts(struct chunkstore *s, const struct chunkstore_config *config, struct err *e)
{
	struct image_store_options images = {.max_bytes = config->images_max_bytes,
					     .tag_fresh_ms = config->tag_fresh_ms};
	char path[PATH_MAX];
	int r;

	r = registry_client_open(&s->registry, &config->registry, e);
	if (r == 0) {
		(void)snprintf(path, sizeof(path), "%s/chunks", config->root);
		r = chunk_cache_open(&s->cache, path, config->cache_max_bytes, e);
	}
	if (r == 0) {
		(void)snprintf(path, sizeof(path), "%s/images", config->root);
		images.dir = path;
		r = image_store_open(&s->images, &images, s->registry, s->cache, e);
	}
	if (r == 0)
		r = fetcher_open(&s->fetcher, &config->fetcher, s->registry, s->cache, e);
	return r;
}

int chunkstore_open(struct chunkstore **out, const struct chunkstore_config *config, struct err *e)
{
	struct chunkstore *s;
	int r;

	if (strlen(config->root) + sizeof("/images") > PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "root folder");
	if (config->cache_max_bytes && config->cache_max_bytes < MIN_CACHE)
		return err_set(e, -EINVAL, "a chunk cache of %llu bytes; at least %llu",
			       (unsigned long long)config->cache_max_bytes, MIN_CACHE);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	r = open_parts(s, config, e);
	if (r < 0) {
		chunkstore_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void chunkstore_close(struct chunkstore *s)
{
	if (!s)
		return;
	if (s->registry)
		registry_client_stop(s->registry);
	fetcher_close(s->fetcher);
	image_store_close(s->images);
	chunk_cache_close(s->cache);
	registry_client_close(s->registry);
	free(s);
}

/* image-spec, "Layer ChainID": the first is its diff ID, each other SHA-256 of "<chain so far> <diff ID>". */
static int chain(struct prepared_image *p)
{
	char text[2 * DIGEST_TEXT_SIZE], layer[DIGEST_TEXT_SIZE], so_far[DIGEST_TEXT_SIZE];
	int r = 0;

	p->chain_ids[0] = p->layers[0];
	for (uint32_t i = 1; i < p->n_layers && r == 0; i++) {
		int n = snprintf(text, sizeof(text), "%s %s", digest_text(&p->chain_ids[i - 1], so_far),
				 digest_text(&p->layers[i], layer));

		r = sha256(&p->chain_ids[i], text, (size_t)n);
	}
	return r;
}

int chunkstore_prepare_image(struct chunkstore *s, const char *reference, const struct digest *manifest,
			     struct prepared_image *out, struct err *e)
{
	struct prepared_image p = {0};
	struct stored_image *i;
	struct reference ref;
	int r = reference_parse(&ref, reference, e);

	if (r < 0)
		return r;
	if (manifest) {
		ref.has_digest = true;
		ref.digest = *manifest;
	}
	r = image_store_get(s->images, &ref, &i, e);
	if (r != 0)
		return r;
	p.manifest = i->digest;
	p.n_layers = i->oci.n_layers;
	p.image_size = i->descriptor.image_size;
	for (uint32_t k = 0; k < p.n_layers; k++)
		p.layers[k] = i->oci.layers[k].digest;
	r = sha256(&p.descriptor, i->descriptor_raw, DESCRIPTOR_SIZE);
	if (r == 0)
		r = chain(&p);
	image_put(i);
	if (r < 0)
		return err_set(e, r, "out of memory");
	*out = p;
	return 0;
}
