/* SPDX-License-Identifier: Apache-2.0
 * The images of all runs, sealed once for a process: an EROFS tree with data behind it, in several shapes.
 * OpenSSL's randomness is ours here too, so that each process has the same ones. */
#include "crypto/sha256.h"
#include "erofs_fixture.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_image images[N_IMAGES];

static uint64_t noise;

static uint8_t next_byte(void)
{
	noise = noise * 6364136223846793005u + 1442695040888963407u;
	return (uint8_t)(noise >> 56);
}

int __wrap_RAND_bytes(unsigned char *to, int n);
int __wrap_RAND_bytes(unsigned char *to, int n)
{
	for (int i = 0; i < n; i++)
		to[i] = next_byte();
	return 1;
}

static void must(bool x)
{
	if (!x)
		abort();
}

static struct digest digest_of(const void *p, size_t n)
{
	struct digest d;

	must(sha256(&d, p, n) == 0);
	return d;
}

/* The manifest and config that a host accepts: every layer is a diff ID. */
static void describe(struct sim_image *x)
{
	char text[DIGEST_TEXT_SIZE], *json = malloc(8192), *config = malloc(4096);
	uint32_t n = x->sealed.n_blobs;
	size_t at, c;

	must(json && config && n <= sizeof(x->blobs) / sizeof(x->blobs[0]));
	c = (size_t)snprintf(config, 4096,
			     "{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
			     "\"diff_ids\":[");
	for (uint32_t k = 0; k < n; k++) {
		x->blobs[k] = digest_of(x->sealed.blobs[k].data, x->sealed.blobs[k].size);
		c += (size_t)snprintf(config + c, 4096 - c, "\"%s\"%s", digest_text(&x->blobs[k], text),
				      k + 1 < n ? "," : "]}}");
	}
	x->config = config;
	x->config_digest = digest_of(config, c);
	at = (size_t)snprintf(json, 8192,
			      "{\"schemaVersion\":2,\"mediaType\":\"application/"
			      "vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/"
			      "vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
			      digest_text(&x->config_digest, text), c);
	for (uint32_t k = 0; k < n; k++)
		at += (size_t)snprintf(json + at, 8192 - at,
				       "{\"mediaType\":\"application/vnd.oci.image.layer.cocoon.%s\","
				       "\"digest\":\"%s\",\"size\":%zu%s",
				       k + 1 < n ? "v1" : "index.v1", digest_text(&x->blobs[k], text),
				       x->sealed.blobs[k].size, k + 1 < n ? "}," : "");
	x->descriptor = digest_of(x->sealed.descriptor, sizeof(x->sealed.descriptor));
	at += (size_t)snprintf(json + at, 8192 - at, ",\"annotations\":{\"dev.cocoon.descriptor\":\"%s\"}}]}",
			       digest_text(&x->descriptor, text));
	free(x->sealed.manifest);
	x->sealed.manifest = json;
	x->manifest = digest_of(json, at);
}

static void fill(struct sim_image *x, unsigned int k)
{
	x->plain = malloc(x->size);
	must(x->plain);
	/* some of it compresses, some does not; no two images share a block */
	for (size_t i = 0; i < x->size; i++)
		x->plain[i] = i / 8192 % 3 == 0 ? (uint8_t)(i / 4096 + k)
						: next_byte() & (i / 8192 % 3 == 1 ? 0x0f : 0xff);
	fixture_make(x->plain);
}

void images_make(void)
{
	static const struct {
		size_t size;
		struct seal_options seal;
	} shapes[N_IMAGES] = {
		{256 << 10, {.cut = 16384, .n_data_blobs = 2, .startup = true}},
		{512 << 10, {.cut = 65536, .n_data_blobs = 1, .page_extents = 3}},
		{384 << 10, {.cut = 4096, .n_data_blobs = 3, .page_extents = 8, .startup = true}},
		{320 << 10, {.cut = 8192, .meta_size = 16384, .n_data_blobs = 2, .padding = 100}},
		{256 << 10, {.cut = 32768, .n_data_blobs = 1, .raw = true, .startup = true}},
		{1 << 20, {.cut = 16384, .n_data_blobs = 2, .page_extents = 20, .startup = true}},
	};

	for (unsigned int k = 0; k < N_IMAGES; k++) {
		struct sim_image *x = &images[k];
		struct seal_options o = shapes[k].seal;

		noise = k + 1;
		x->size = shapes[k].size;
		x->true_config = o.config = "{\"config\":{\"Env\":[\"A=1\"]}}";
		fill(x, k);
		seal(&x->sealed, x->plain, x->size, &o);
		describe(x);
	}
}
