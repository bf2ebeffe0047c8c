/* SPDX-License-Identifier: Apache-2.0
 * A lease keeps containerd's collector away from the first thing that is made until the name is there; under
 * it the order does not matter, so whatever waits for somebody else is done side by side: the manifest comes
 * while containerd makes the lease; the config, and both as content, while the snapshotter fetches and mounts
 * the image, which it does as soon as it hears of the lowest layer. */
#include "publisher/pull.h"

#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "publisher/containerd_calls.h"
#include "publisher/repository.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#define LEASE_SECONDS 3600
#define LAYER_TIMEOUT_MS 120000 /* the last layer's snapshot is ready when the image is mounted */
#define PREPARE_TRIES 3
#define LABEL_VALUE_SIZE 4096 /* containerd: key and value together */
#define LAYERS_LABEL "containerd.io/snapshot/cri.image-layers"

struct pull_job {
	const struct pull_options *options;
	const struct reference *ref;
	struct containerd_client *containerd;
	struct repository *repository;
	struct oci_manifest manifest;
	struct buf manifest_json, config_json;
	struct digest manifest_digest;
	struct digest *chain_ids; /* owned, one for each layer */
	char lease[48];
	bool leased;
	char reference[REFERENCE_TEXT_SIZE];
	char source_label[300]; /* containerd.io/distribution.source.<registry> */
	char repository_name[256];
};

/* ---- The image ---- */

/* [M3]: the config names the layers themselves as its diff IDs. The chain IDs follow from them as OCI's
 * config.md has it. */
static int check_config(struct pull_job *j, struct err *e)
{
	struct oci_config config;
	int r = oci_config_decode(&config, j->config_json.data, j->config_json.size, e);

	if (r < 0)
		return r;
	if (config.n_diff_ids != j->manifest.n_layers)
		r = err_set(e, -EUCLEAN, "%u layers, %u diff IDs [M3]", j->manifest.n_layers,
			    config.n_diff_ids);
	for (uint32_t i = 0; r == 0 && i < config.n_diff_ids; i++)
		if (!digest_equal(&config.diff_ids[i], &j->manifest.layers[i].digest))
			r = err_set(e, -EUCLEAN, "diff ID %u is not the layer's digest [M3]", i);
	oci_config_deinit(&config);
	return r;
}

static int compute_chain_ids(struct pull_job *j)
{
	j->chain_ids = calloc(j->manifest.n_layers, sizeof(*j->chain_ids));
	if (!j->chain_ids)
		return -ENOMEM;
	j->chain_ids[0] = j->manifest.layers[0].digest;
	for (uint32_t i = 1; i < j->manifest.n_layers; i++) {
		char joined[2 * DIGEST_TEXT_SIZE];
		int r;

		(void)digest_text(&j->chain_ids[i - 1], joined);
		joined[DIGEST_TEXT_SIZE - 1] = ' ';
		(void)digest_text(&j->manifest.layers[i].digest, joined + DIGEST_TEXT_SIZE);
		r = sha256(&j->chain_ids[i], joined, sizeof(joined) - 1);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_manifest(struct pull_job *j, struct err *e)
{
	int r = repository_open(&j->repository, j->ref, &j->options->remote, e);

	if (r == 0)
		r = repository_manifest(j->repository, &j->options->platform, &j->manifest_json,
					&j->manifest_digest, &j->manifest, e);
	if (r < 0)
		return r;
	if (!j->manifest.sealed)
		return err_set(e, -ENOTSUP,
			       "this is no sealed image; pull it with: ctr images pull --snapshotter %s %s",
			       j->options->snapshotter, j->reference);
	return compute_chain_ids(j);
}

/* ---- Content ---- */

static int put_config(struct pull_job *j, struct err *e)
{
	char ref[128], key[128], chain[DIGEST_TEXT_SIZE];
	const struct containerd_label labels[] = {
		{key, digest_text(&j->chain_ids[j->manifest.n_layers - 1], chain)},
		{j->source_label, j->repository_name},
	};

	(void)snprintf(key, sizeof(key), "containerd.io/gc.ref.snapshot.%s", j->options->snapshotter);
	(void)snprintf(ref, sizeof(ref), "%s-config", j->lease);
	return containerd_content_put(j->containerd, ref, &j->manifest.config.digest, &j->config_json, labels,
				      2, e);
}

struct layer_label {
	char key[64], value[DIGEST_TEXT_SIZE];
};

static int put_manifest(struct pull_job *j, struct err *e)
{
	size_t n = j->manifest.n_layers + 2;
	cleanup_free struct containerd_label *labels = calloc(n, sizeof(*labels));
	cleanup_free struct layer_label *texts = calloc(j->manifest.n_layers, sizeof(*texts));
	char ref[128], config[DIGEST_TEXT_SIZE];

	if (!labels || !texts)
		return -ENOMEM;
	/* The layers too: should somebody fetch them into containerd, they stay as long as the image. */
	for (uint32_t i = 0; i < j->manifest.n_layers; i++) {
		(void)snprintf(texts[i].key, sizeof(texts[i].key), "containerd.io/gc.ref.content.l.%u", i);
		labels[i] = (struct containerd_label){
			texts[i].key, digest_text(&j->manifest.layers[i].digest, texts[i].value)};
	}
	labels[n - 2] = (struct containerd_label){"containerd.io/gc.ref.content.config",
						  digest_text(&j->manifest.config.digest, config)};
	labels[n - 1] = (struct containerd_label){j->source_label, j->repository_name};
	(void)snprintf(ref, sizeof(ref), "%s-manifest", j->lease);
	return containerd_content_put(j->containerd, ref, &j->manifest_digest, &j->manifest_json, labels, n,
				      e);
}

static int put_content(struct pull_job *j, struct err *e)
{
	int r = repository_read(j->repository, &j->manifest.config, &j->config_json, e);

	if (r == 0)
		r = check_config(j, e);
	if (r == 0)
		r = put_config(j, e);
	return r < 0 ? r : put_manifest(j, e);
}

/* ---- Snapshots ---- */

/* The digests of this layer and those above, comma-separated, as many as a label takes. */
static void layers_text(const struct pull_job *j, uint32_t from, char to[static LABEL_VALUE_SIZE])
{
	size_t n = 0;

	for (uint32_t i = from; i < j->manifest.n_layers; i++) {
		char text[DIGEST_TEXT_SIZE];

		if (n + DIGEST_TEXT_SIZE + sizeof(LAYERS_LABEL) > LABEL_VALUE_SIZE)
			break;
		n += (size_t)snprintf(to + n, LABEL_VALUE_SIZE - n, "%s%s", n > 0 ? "," : "",
				      digest_text(&j->manifest.layers[i].digest, text));
	}
}

static int prepare_layer(struct pull_job *j, uint32_t i, struct err *e)
{
	const char *snapshotter = j->options->snapshotter;
	char chain[DIGEST_TEXT_SIZE], parent[DIGEST_TEXT_SIZE] = "", layer[DIGEST_TEXT_SIZE];
	char manifest[DIGEST_TEXT_SIZE], layers[LABEL_VALUE_SIZE], key[160];
	const struct containerd_label labels[] = {
		{"containerd.io/snapshot.ref", digest_text(&j->chain_ids[i], chain)},
		{"containerd.io/snapshot/cri.image-ref", j->reference},
		{"containerd.io/snapshot/cri.manifest-digest", digest_text(&j->manifest_digest, manifest)},
		{"containerd.io/snapshot/cri.layer-digest",
		 digest_text(&j->manifest.layers[i].digest, layer)},
		{LAYERS_LABEL, layers},
		{"containerd.io/snapshot/cocoon.sealed", "true"},
	};
	int r;

	if (i > 0)
		(void)digest_text(&j->chain_ids[i - 1], parent);
	layers_text(j, i, layers);
	(void)snprintf(key, sizeof(key), "extract-%s-%u %s", j->lease, i,
		       chain); /* as containerd's unpacker writes it */
	r = containerd_snapshot_prepare(j->containerd, snapshotter, key, parent, labels,
					sizeof(labels) / sizeof(labels[0]), LAYER_TIMEOUT_MS, e);
	if (r == 0) {
		(void)containerd_snapshot_remove(j->containerd, snapshotter, key, NULL);
		return err_set(
			e, -ENOTSUP,
			"containerd's snapshotter %s does not take sealed layers; is it cocoon-snapshotter?",
			snapshotter);
	}
	return r == -EEXIST ? 0 : err_prefix(e, r, "layer %u of %u", i + 1, j->manifest.n_layers);
}

/* From the lowest up. A snapshot that was there is under no lease until one stands on it: the collector may
 * take it meanwhile, and then -ENOENT tells. Who has the topmost has all. */
static int try_layers(struct pull_job *j, struct err *e)
{
	char top[DIGEST_TEXT_SIZE];
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < j->manifest.n_layers; i++) {
		if (j->options->progress)
			j->options->progress(j->options->progress_arg, i, j->manifest.n_layers);
		r = prepare_layer(j, i, e);
	}
	(void)digest_text(&j->chain_ids[j->manifest.n_layers - 1], top);
	return r < 0 ? r : containerd_snapshot_stat(j->containerd, j->options->snapshotter, top, e);
}

static int prepare_layers(struct pull_job *j, struct err *e)
{
	int r = -ENOENT;

	for (int tries = 0; r == -ENOENT && tries < PREPARE_TRIES; tries++)
		r = try_layers(j, e);
	if (r == 0 && j->options->progress)
		j->options->progress(j->options->progress_arg, j->manifest.n_layers, j->manifest.n_layers);
	return r;
}

/* ---- The whole ---- */

typedef int step(struct pull_job *j, struct err *e);

struct aside {
	struct pull_job *j;
	step *step;
	int result;
	struct err e;
};

static void *run_aside(void *arg)
{
	struct aside *a = arg;

	a->result = a->step(a->j, &a->e);
	return NULL;
}

/* Both steps, side by side. Both have ended when this returns; when both fail, the words are `here`'s. */
static int run_both(struct pull_job *j, step *aside, step *here, struct err *e)
{
	struct aside a = {.j = j, .step = aside};
	pthread_t thread;
	bool started = pthread_create(&thread, NULL, run_aside, &a) == 0;
	int r = here(j, e);

	if (started)
		(void)pthread_join(thread, NULL);
	else
		(void)run_aside(&a);
	return r == 0 && a.result < 0 ? err_set(e, a.result, "%s", a.e.text) : r;
}

static int open_containerd(struct pull_job *j, struct err *e)
{
	int r = containerd_client_open(&j->containerd, j->options->address, j->options->namespace, e);

	if (r == 0)
		r = containerd_lease_create(j->containerd, j->lease, LEASE_SECONDS, e);
	j->leased = r == 0;
	return r;
}

static int run(struct pull_job *j, struct err *e)
{
	int r = run_both(j, open_containerd, read_manifest, e), left = 0;

	if (r == 0)
		r = run_both(j, put_content, prepare_layers, e);
	if (r == 0)
		r = containerd_image_put(j->containerd, j->reference, OCI_TYPE_MANIFEST, &j->manifest_digest,
					 j->manifest_json.size, e);
	if (j->leased)
		left = containerd_lease_delete(j->containerd, j->lease, r == 0 ? e : NULL);
	return r < 0 ? r : left;
}

int pull(const struct pull_options *options, const struct reference *ref, struct pulled *out, struct err *e)
{
	struct pull_job j = {.options = options, .ref = ref};
	uint64_t random = 0;
	int r;

	if (ref->layout)
		return err_set(e, -EINVAL, "containerd pulls from registries, not from %s", ref->path);
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_errno(e, -errno, "no random bytes");
	buf_init(&j.manifest_json, MAX_MANIFEST_SIZE);
	buf_init(&j.config_json, OCI_MAX_DOCUMENT);
	(void)snprintf(j.lease, sizeof(j.lease), "cocoon-pull-%016" PRIx64, random);
	(void)reference_text(ref, j.reference);
	(void)snprintf(j.source_label, sizeof(j.source_label), "containerd.io/distribution.source.%s",
		       ref->registry);
	(void)snprintf(j.repository_name, sizeof(j.repository_name), "%s", ref->repository);
	r = run(&j, e);
	if (r == 0) {
		memcpy(out->name, j.reference, sizeof(out->name));
		out->manifest = j.manifest_digest;
		out->chain = j.chain_ids[j.manifest.n_layers - 1];
		out->n_layers = j.manifest.n_layers;
	}
	containerd_client_close(j.containerd);
	repository_close(j.repository);
	oci_manifest_deinit(&j.manifest);
	buf_deinit(&j.manifest_json);
	buf_deinit(&j.config_json);
	free(j.chain_ids);
	return r;
}
