/* SPDX-License-Identifier: Apache-2.0
 * The pipeline. One thread reads, hashes, inflates and merges layers in their order; sealing happens on
 * others; blobs wait unnamed until the last step puts them in their place. */
#include "publisher/convert.h"
#include "crypto/kdf.h"
#include "crypto/keyfile.h"
#include "crypto/keywrap.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"
#include "publisher/erofs_writer.h"
#include "publisher/image_source.h"
#include "publisher/progress.h"
#include "publisher/sealed_layer.h"
#include "publisher/startup_list.h"
#include "publisher/startup_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conversion {
	const struct convert_options *o;
	struct convert_result *out;
	struct secret prk_domain, image_key;
	struct cutter cutter;
	struct image_source *source;
	struct destination *destination;
	struct seal_pool *pool;
	struct tree *tree;
	struct sealed_layer *layers;	  /* owned; the start-up data first, when there is a list */
	uint32_t first_layer, n_layers;	  /* the source's are numbered from first_layer on */
	int blob_fds[MAX_BLOBS];	  /* owned; data blobs that are read again, else -1 */
	struct oci_blob blobs[MAX_BLOBS]; /* as they will stand in the manifest */
	struct progress progress;
	uint64_t source_done, source_total; /* bytes of layers */
};

static int load_keys(struct conversion *c, struct err *e)
{
	cleanup_secret struct secret domain;
	int r;

	if (c->o->image_key)
		c->image_key = *c->o->image_key;
	if (c->o->image_key)
		r = 0;
	else if (c->o->image_key_file)
		r = keyfile_read(&c->image_key, c->o->image_key_file, KEYFILE_IMAGE, e);
	else
		r = secret_random(&c->image_key);
	if (r < 0)
		return r;
	if (c->o->domain_file)
		r = keyfile_read(&domain, c->o->domain_file, KEYFILE_DOMAIN, e);
	else
		r = secret_random(&domain);
	if (r < 0)
		return r;
	if (kdf_prk(&c->prk_domain, SALT_DOMAIN, &domain) < 0 || cutter_init(&c->cutter, &c->prk_domain) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* What the layer reader pulls: counted for the bar. */
struct counted {
	struct conversion *c;
	struct blob_stream *stream;
};

static int read_counted(void *arg, void *to, size_t room, size_t *n, struct err *e)
{
	struct counted *s = arg;
	int r = blob_stream_read(s->stream, to, room, n, e);

	if (r < 0)
		return r;
	s->c->source_done += *n;
	progress_update(&s->c->progress, s->c->source_done, s->c->source_total);
	return 0;
}

static void add_stats(struct layer_stats *to, const struct layer_stats *s)
{
	to->entries += s->entries;
	to->tar_bytes += s->tar_bytes;
	to->shared_files += s->shared_files;
	to->dropped_xattrs += s->dropped_xattrs;
	to->overlay_xattrs += s->overlay_xattrs;
}

/* Read layer `i`, one of the source's, from its stream into the tree and the sink. */
static int pull_layer(struct conversion *c, uint32_t i, struct layer_sink *sink, struct err *e)
{
	uint32_t of_source = i - c->first_layer;
	const struct oci_blob *blob = &image_source_manifest(c->source)->layers[of_source];
	struct counted counted = {.c = c};
	struct layer_source source = {.read = read_counted,
				      .arg = &counted,
				      .media_type = blob->media_type,
				      .digest = blob->digest,
				      .size = blob->size,
				      .diff_id = image_source_config(c->source)->diff_ids[of_source]};
	struct layer_stats stats = {0};
	int r = image_source_layer(c->source, of_source, &counted.stream, e);

	if (r < 0)
		return r;
	r = layer_apply(c->tree, i, &source, sink, &stats, e);
	blob_stream_close(counted.stream);
	add_stats(&c->out->read, &stats);
	return r;
}

/* What fills the sink of layer `i`. */
typedef int layer_filler(struct conversion *c, uint32_t i, struct layer_sink *sink, struct err *e);

static int seal_layer(struct conversion *c, uint32_t i, layer_filler *fill, struct err *e)
{
	struct sealed_layer *l = &c->layers[i];
	struct layer_sink *sink = NULL;
	cleanup_close int fd = -1;
	int r = destination_temp(c->destination, &fd, e);

	if (r == 0)
		r = layer_sink_open(&sink, fd, c->pool, &c->prk_domain, &c->cutter, e);
	if (r == 0)
		r = fill(c, i, sink, e);
	if (r == 0)
		r = layer_sink_finish(sink, l, e);
	layer_sink_close(sink);
	if (r < 0)
		return r;
	if (c->o->startup) {
		c->blob_fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (c->blob_fds[i] < 0)
			return err_errno(e, -errno, "cannot keep a data blob open");
	}
	c->blobs[i] = (struct oci_blob){.digest = l->digest, .size = l->size};
	return destination_add(c->destination, &c->blobs[i], take_fd(&fd), e);
}

static int seal_layers(struct conversion *c, struct err *e)
{
	const struct oci_manifest *m = image_source_manifest(c->source);
	int r = 0;

	c->first_layer = c->o->startup ? STARTUP_LAYER + 1 : 0;
	if (c->first_layer + m->n_layers >= MAX_BLOBS)
		return err_set(e, -ENOTSUP, "%u layers leave no room for one of start-up data", m->n_layers);
	c->layers = calloc(c->first_layer + m->n_layers, sizeof(*c->layers));
	if (!c->layers)
		return err_set(e, -ENOMEM, "out of memory");
	c->n_layers = c->first_layer + m->n_layers;
	for (uint32_t i = 0; i < m->n_layers; i++)
		c->source_total += m->layers[i].size;
	progress_start(&c->progress, "sealing", c->o->quiet);
	for (uint32_t i = 0; i < m->n_layers && r == 0; i++) {
		r = seal_layer(c, c->first_layer + i, pull_layer, e);
		if (r < 0)
			(void)err_prefix(e, r, "layer %u", i);
	}
	progress_end(&c->progress);
	c->out->source_bytes = c->source_total;
	c->out->n_layers = m->n_layers;
	return r;
}

static int fill_startup(struct conversion *c, uint32_t i, struct layer_sink *sink, struct err *e)
{
	struct startup_place place = {
		.tree = c->tree, .layers = c->layers, .blobs = c->blob_fds, .sink = sink};

	(void)i;
	return startup_place(&place, (const char *)c->o->startup->data, c->o->startup->size, e);
}

/* The blob that serves the start, and a tree that points into it. */
static int seal_startup(struct conversion *c, struct err *e)
{
	int r = c->o->startup ? seal_layer(c, STARTUP_LAYER, fill_startup, e) : 0;

	if (r == 0 && c->o->startup)
		c->out->startup_bytes = c->layers[STARTUP_LAYER].size;
	return r < 0 ? err_prefix(e, r, "start-up data") : 0;
}

static int to_index(void *arg, const void *p, size_t n, struct err *e)
{
	return index_writer_metadata(arg, p, n, e);
}

/* What is to be read first, as the publisher said. */
static int find_startup(struct conversion *c, const struct erofs_plan *plan, uint32_t **blocks, size_t *n,
			struct err *e)
{
	const struct buf *list = c->o->startup;
	size_t unknown = 0;
	int r;

	*blocks = NULL;
	*n = 0;
	if (!list)
		return 0;
	r = startup_list_blocks(blocks, n, &unknown, (const char *)list->data, list->size, plan,
				c->layers[STARTUP_LAYER].n_blocks, e);
	if (r == 0 && unknown)
		log_warn("%zu paths of the start-up list are not in the image", unknown);
	return r;
}

static int write_index(struct conversion *c, struct index_writer *w, int fd, struct err *e)
{
	const struct buf *config = image_source_config_json(c->source);
	cleanup_free uint32_t *startup = NULL;
	uint64_t layer_blocks[MAX_BLOBS];
	struct erofs_plan plan;
	size_t n_startup;
	int r;

	for (uint32_t i = 0; i < c->n_layers; i++)
		layer_blocks[i] = c->layers[i].n_blocks;
	r = erofs_plan(&plan, c->tree, layer_blocks, c->n_layers, image_source_digest(c->source)->bytes, e);
	if (r == 0)
		r = erofs_write(&plan, to_index, w, e);
	if (r == 0)
		r = find_startup(c, &plan, &startup, &n_startup, e);
	if (r < 0)
		return r;
	return index_writer_finish(w,
				   &(struct index_inputs){.layers = c->layers,
							  .n_layers = c->n_layers,
							  .config = config->data,
							  .config_size = config->size,
							  .startup_blocks = startup,
							  .n_startup = n_startup,
							  .image_key = &c->image_key},
				   fd, &c->out->index, e);
}

static int seal_index(struct conversion *c, struct err *e)
{
	cleanup_close int spool = -1, fd = -1;
	struct index_writer *w = NULL;
	int r = destination_temp(c->destination, &spool, e);

	if (r == 0)
		r = destination_temp(c->destination, &fd, e);
	if (r == 0)
		r = index_writer_new(&w, c->pool, spool, e);
	if (r == 0)
		r = write_index(c, w, fd, e);
	index_writer_free(w);
	if (r < 0)
		return err_prefix(e, r, "index");
	c->blobs[c->n_layers] = (struct oci_blob){.digest = c->out->index.digest, .size = c->out->index.size};
	return destination_add(c->destination, &c->blobs[c->n_layers], take_fd(&fd), e);
}

/* The public config, as a blob of the image. */
static int add_config(struct conversion *c, struct oci_blob *blob, struct err *e)
{
	const struct buf *source = image_source_config_json(c->source);
	cleanup_free char *user = NULL, *json = NULL;
	struct digest digests[MAX_BLOBS];
	cleanup_close int fd = -1;
	int r = user_resolve(&user, image_source_config(c->source)->user, c->tree, e);

	for (uint32_t i = 0; i <= c->n_layers; i++)
		digests[i] = c->blobs[i].digest;
	if (r == 0)
		(void)snprintf(c->out->user, sizeof(c->out->user), "%s", user);
	if (r == 0)
		r = public_config_make(&json, source->data, source->size, c->o->public_fields, user, digests,
				       c->n_layers + 1, e);
	if (r == 0)
		r = destination_temp(c->destination, &fd, e);
	if (r < 0)
		return r;
	*blob = (struct oci_blob){.size = strlen(json)};
	r = sha256(&blob->digest, json, strlen(json));
	if (r == 0)
		r = write_full(fd, json, strlen(json));
	if (r < 0)
		return err_errno(e, r, "cannot write the config");
	return destination_add(c->destination, blob, take_fd(&fd), e);
}

/* Ended by NUL; NULL when it is empty. */
static const char *text_of(struct buf *b)
{
	if (b->size == 0)
		return NULL;
	buf_u8(b, 0);
	return (const char *)b->data;
}

static int wrap_keys(const struct conversion *c, struct manifest_parts *parts, struct buf *jwe,
		     struct buf *provider, struct err *e)
{
	int r = recipients_wrap(c->o->recipients, c->o->n_recipients, &c->image_key,
				&c->out->index.descriptor, jwe, provider, e);

	if (r < 0)
		return r;
	parts->jwe = text_of(jwe);
	parts->provider = text_of(provider);
	return buf_failed(jwe) || buf_failed(provider) ? err_set(e, -E2BIG, "too many recipients") : 0;
}

static int publish(struct conversion *c, struct err *e)
{
	struct manifest_parts parts = {
		.layers = c->blobs, .n_layers = c->n_layers + 1, .descriptor = c->out->index.descriptor};
	cleanup_buf struct buf jwe = {.max = KEYWRAP_MAX_ANNOTATION + 1};
	cleanup_buf struct buf provider = {.max = KEYWRAP_MAX_ANNOTATION + 1};
	cleanup_free char *manifest = NULL;
	int r = add_config(c, &parts.config, e);

	if (r == 0)
		r = wrap_keys(c, &parts, &jwe, &provider, e);
	if (r < 0)
		return r;
	r = sealed_manifest_make(&manifest, &parts, e);
	if (r < 0)
		return r;
	if (sha256(&c->out->manifest, manifest, strlen(manifest)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	progress_start(&c->progress, "storing", c->o->quiet);
	r = destination_commit(c->destination, manifest, strlen(manifest),
			       &image_source_config(c->source)->platform, progress_update, &c->progress,
			       &c->out->stored, e);
	progress_end(&c->progress);
	return r;
}

static int run(struct conversion *c, struct err *e)
{
	const struct convert_options *o = c->o;
	int r = load_keys(c, e);

	if (r == 0)
		r = image_source_open(&c->source, &o->from, &o->platform, &o->remote, e);
	if (r < 0)
		return r;
	c->out->source = *image_source_digest(c->source);
	r = destination_open(&c->destination, &o->to, &o->remote, e);
	if (r < 0)
		return r;
	destination_mount_from(c->destination, o->mount_from);
	r = seal_pool_new(&c->pool, o->n_threads, &o->seal, e);
	if (r == 0 && tree_new(&c->tree) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = seal_layers(c, e);
	if (r == 0)
		r = seal_startup(c, e);
	if (r == 0)
		r = seal_index(c, e);
	return r == 0 ? publish(c, e) : r;
}

int convert(const struct convert_options *o, struct convert_result *out, struct err *e)
{
	struct conversion *c = calloc(1, sizeof(*c));
	uint64_t started = clock_ms();
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	*out = (struct convert_result){0};
	c->o = o;
	c->out = out;
	for (uint32_t i = 0; i < MAX_BLOBS; i++)
		c->blob_fds[i] = -1;
	r = run(c, e);
	for (uint32_t i = 0; i < c->n_layers; i++) {
		sealed_layer_deinit(&c->layers[i]);
		if (c->blob_fds[i] >= 0)
			(void)close(c->blob_fds[i]);
	}
	free(c->layers);
	tree_free(c->tree);
	seal_pool_free(c->pool);
	destination_close(c->destination);
	image_source_close(c->source);
	cutter_deinit(&c->cutter);
	secret_wipe(&c->prk_domain);
	secret_wipe(&c->image_key);
	free(c);
	out->duration_ms = clock_ms() - started;
	return r;
}
