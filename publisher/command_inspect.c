/* SPDX-License-Identifier: Apache-2.0
 * cocoon inspect: what everybody can see of a sealed image, and with a key what is sealed in it. */
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/format/format.h"
#include "publisher/progress.h"
#include "publisher/sealed_command.h"
#include "publisher/sealed_source.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char help[] = "Usage: cocoon inspect [OPTION]... IMAGE\n"
			   "\n"
			   "Shows what a sealed image is. Without a key: what everybody can see, the host "
			   "too, and nothing of it is\n"
			   "checked against a key. With a key: also the config that is sealed in it.\n"
			   "\n" SEALED_HELP "  --json               as JSON\n";

/* What is public. */
struct facts {
	struct digest manifest_digest, descriptor_digest;
	struct descriptor descriptor;
	struct oci_manifest manifest;
};

static int read_facts(const struct sealed_command *c, struct facts *out, struct err *e)
{
	cleanup_buf struct buf json = {.max = OCI_MAX_DOCUMENT};
	uint8_t raw[DESCRIPTOR_SIZE];
	struct source *source;
	int r = sealed_source_open(&source, &c->ref, &c->platform, &c->remote, e);

	if (r < 0)
		return r;
	r = source->ops->open(source, &json, raw, e);
	source->ops->close(source);
	if (r == 0)
		r = descriptor_decode(&out->descriptor, raw, e);
	if (r == 0 && (sha256(&out->manifest_digest, json.data, json.size) < 0 ||
		       sha256(&out->descriptor_digest, raw, sizeof(raw)) < 0))
		r = err_set(e, -ENOMEM, "out of memory");
	return r == 0 ? oci_manifest_decode(&out->manifest, json.data, json.size, e) : r;
}

/* How many recipients an annotation names. */
static unsigned count(const char *keys)
{
	unsigned n = keys && *keys ? 1 : 0;

	for (; keys && *keys; keys++)
		n += *keys == ',';
	return n;
}

static unsigned recipients(const struct oci_manifest *m)
{
	return count(m->keys_jwe) + count(m->keys_provider);
}

static json_t *digest_json(const struct digest *d)
{
	char text[DIGEST_TEXT_SIZE];

	return json_string(digest_text(d, text));
}

static json_t *facts_json(const struct facts *f)
{
	json_t *layers = json_array();

	for (uint32_t i = 0; i < f->manifest.n_layers; i++)
		(void)json_array_append_new(
			layers, json_pack("{s:o, s:I}", "digest", digest_json(&f->manifest.layers[i].digest),
					  "size", (json_int_t)f->manifest.layers[i].size));
	return json_pack("{s:o, s:o, s:i, s:I, s:i, s:i, s:i, s:i, s:o}", "manifest",
			 digest_json(&f->manifest_digest), "descriptor", digest_json(&f->descriptor_digest),
			 "version", (int)FORMAT_VERSION, "image_size", (json_int_t)f->descriptor.image_size,
			 "chunks", (int)f->descriptor.n_chunks, "metadata_chunks",
			 (int)f->descriptor.n_meta_chunks, "max_chunk_size",
			 (int)f->descriptor.max_chunk_size, "recipients", (int)recipients(&f->manifest),
			 "blobs", layers);
}

static void print_facts(const struct facts *f)
{
	char text[DIGEST_TEXT_SIZE], size[SIZE_TEXT_SIZE];
	uint32_t n = f->manifest.n_layers;

	(void)printf("manifest    %s\n", digest_text(&f->manifest_digest, text));
	(void)printf("descriptor  %s\n", digest_text(&f->descriptor_digest, text));
	(void)printf("plaintext   %s\n", size_text(f->descriptor.image_size, size));
	(void)printf("chunks      %u, %u of them metadata\n", f->descriptor.n_chunks,
		     f->descriptor.n_meta_chunks);
	(void)printf("recipients  %u\n", recipients(&f->manifest));
	for (uint32_t i = 0; i < n; i++)
		(void)printf("%s  %s  %s\n", i + 1 < n ? "layer     " : "index     ",
			     digest_text(&f->manifest.layers[i].digest, text),
			     size_text(f->manifest.layers[i].size, size));
}

/* The source's config, as sealed; NULL when there is none. */
static json_t *sealed_config(const struct sealed_command *c, int *error, struct err *e)
{
	cleanup_buf struct buf config = {.max = MAX_CONFIG_SIZE, .secret = true};
	struct image *image;
	json_t *j;

	*error = sealed_command_open(c, &image, e);
	if (*error < 0)
		return NULL;
	*error = image_config(image, &config, e);
	image_close(image);
	if (*error < 0)
		return NULL;
	j = json_loadb((const char *)config.data, config.size, JSON_REJECT_DUPLICATES, NULL);
	if (!j)
		*error = err_set(e, -EUCLEAN, "the sealed config is no JSON");
	return j;
}

static int print(const struct facts *f, json_t *config, bool as_json)
{
	json_t *all = as_json ? facts_json(f) : config;
	int r = 0;

	if (as_json && config)
		r = json_object_set(all, "config", config);
	if (!as_json)
		print_facts(f);
	if (all && r == 0) {
		r = json_dumpf(all, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	}
	if (as_json)
		json_decref(all);
	return r;
}

int command_inspect(int argc, char **argv)
{
	struct sealed_command c = {.name = "inspect", .help = help, .takes_json = true, .n_arguments = 1};
	struct facts f = {0};
	struct err e = {{0}};
	json_t *config = NULL;
	int code, r;

	if (!sealed_command_parse(&c, argc, argv, &code))
		return code;
	r = read_facts(&c, &f, &e);
	if (r == 0 && c.keys.n)
		config = sealed_config(&c, &r, &e);
	if (r < 0)
		code = command_failed("inspect", r, &e);
	else
		code = print(&f, config, c.json) == 0 ? EXIT_DONE : EXIT_FAILED;
	json_decref(config);
	oci_manifest_deinit(&f.manifest);
	return code;
}
