/* SPDX-License-Identifier: Apache-2.0
 * A manifest digest stands for one manifest for ever, so that it is no sealed image is remembered for ever
 * (in a small ring), and that it could not be asked for a while: an ordinary image of many layers costs one
 * question. */
#include "snapshotter/sealed.h"

#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/oci/reference.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define N_VERDICTS 64u
#define UNREACHABLE_SECONDS 30

struct verdict {
	struct digest manifest;
	time_t until; /* monotonic seconds; 0: an empty place */
};

struct sealed_finder {
	struct chunkstore *store;
	pthread_mutex_t lock; /* guards the ring */
	struct verdict not_sealed[N_VERDICTS];
	size_t next;
};

int sealed_finder_new(struct sealed_finder **out, struct chunkstore *store)
{
	struct sealed_finder *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->store = store;
	(void)pthread_mutex_init(&f->lock, NULL);
	*out = f;
	return 0;
}

void sealed_finder_free(struct sealed_finder *f)
{
	if (!f)
		return;
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

static time_t now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static bool is_known_not_sealed(struct sealed_finder *f, const struct digest *manifest)
{
	bool known = false;

	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < N_VERDICTS && !known; i++)
		known = f->not_sealed[i].until > now() && digest_equal(&f->not_sealed[i].manifest, manifest);
	(void)pthread_mutex_unlock(&f->lock);
	return known;
}

static void remember_not_sealed(struct sealed_finder *f, const struct digest *manifest, time_t seconds)
{
	(void)pthread_mutex_lock(&f->lock);
	f->not_sealed[f->next] = (struct verdict){*manifest, now() + seconds};
	f->next = (f->next + 1) % N_VERDICTS;
	(void)pthread_mutex_unlock(&f->lock);
}

/* The image of one manifest, and its reference as we write it. */
static int prepare(struct sealed_finder *f, const char *name, const struct digest *manifest,
		   struct sealed_layer *out, struct err *e)
{
	struct reference ref;
	int r = reference_parse(&ref, name, e);

	if (r < 0)
		return r;
	if (ref.layout)
		return err_set(e, -EINVAL, "%s is not in a registry", name);
	ref.tag[0] = '\0';
	ref.has_digest = true;
	ref.digest = *manifest;
	(void)reference_text(&ref, out->reference);
	return chunkstore_prepare_image(f->store, out->reference, manifest, &out->image, e);
}

static int choose_layer(struct sealed_layer *s, const struct digest *chain, struct err *e)
{
	char text[DIGEST_TEXT_SIZE];

	for (s->layer = 0; s->layer < s->image.n_layers; s->layer++)
		if (digest_equal(&s->image.chain_ids[s->layer], chain))
			return 0;
	return err_set(e, -EINVAL, "%s has no layer with chain ID %s", s->reference,
		       digest_text(chain, text));
}

/* What the labels say, checked for form only. 0 or SEALED_NO. */
static int read_labels(const struct labels *labels, const char **name, struct digest *chain,
		       struct digest *manifest)
{
	const char *ref = labels_get(labels, LABEL_REF);
	const char *digest = labels_get(labels, LABEL_MANIFEST_DIGEST);

	*name = labels_get(labels, LABEL_IMAGE_REF);
	if (!ref || !digest || !*name || digest_parse(chain, ref) < 0 || digest_parse(manifest, digest) < 0)
		return SEALED_NO;
	return 0;
}

/* The label with the layer's own digest is optional; when it is there it must be right. */
static int check_layer_digest(const struct labels *labels, const struct sealed_layer *s, struct err *e)
{
	const char *text = labels_get(labels, LABEL_LAYER_DIGEST);
	struct digest d;

	if (!text || (digest_parse(&d, text) == 0 && digest_equal(&d, &s->image.layers[s->layer])))
		return 0;
	return err_set(e, -EINVAL, "layer %u of %s is not %s", s->layer, s->reference, text);
}

int sealed_find(struct sealed_finder *f, const struct labels *labels, struct sealed_layer *out, struct err *e)
{
	bool must = labels_get(labels, LABEL_SEALED) != NULL;
	struct digest chain, manifest;
	struct err words = {""};
	const char *name;
	int r = read_labels(labels, &name, &chain, &manifest);

	if (r != 0)
		return must ? err_set(e, -EINVAL, "the labels of a sealed layer are incomplete") : r;
	if (!must && is_known_not_sealed(f, &manifest))
		return SEALED_NO;
	r = prepare(f, name, &manifest, out, &words);
	if (r == IMAGE_NOT_SEALED) {
		remember_not_sealed(f, &manifest, INT32_MAX);
		if (must)
			return err_set(e, -EINVAL, "%s is not a sealed image", out->reference);
		log_info("image ordinary ref=%s", out->reference);
		return SEALED_NO;
	}
	if (r == 0)
		r = choose_layer(out, &chain, &words);
	if (r == 0)
		r = check_layer_digest(labels, out, &words);
	if (r == 0)
		return 0;
	if (must)
		return err_set(e, r, "%s", words.text);
	remember_not_sealed(f, &manifest, UNREACHABLE_SECONDS);
	log_warn("image taken for an ordinary one ref=%s: %s", name, words.text);
	return SEALED_NO;
}

int sealed_find_by_name(struct sealed_finder *f, const char *name, struct sealed_layer *out, struct err *e)
{
	char text[DIGEST_TEXT_SIZE];
	struct reference ref;
	struct digest chain;
	int r;

	if (strncmp(name, "sealed/", 7) != 0 || strlen(name) < 7 + DIGEST_TEXT_SIZE)
		return SEALED_NO;
	memcpy(text, name + 7, DIGEST_TEXT_SIZE - 1);
	text[DIGEST_TEXT_SIZE - 1] = '\0';
	name += 7 + DIGEST_TEXT_SIZE - 1;
	if (*name++ != '/' || digest_parse(&chain, text) < 0 || reference_parse(&ref, name, NULL) < 0 ||
	    ref.layout || !ref.has_digest)
		return SEALED_NO;
	r = prepare(f, name, &ref.digest, out, e);
	if (r == IMAGE_NOT_SEALED)
		return err_set(e, -EINVAL, "%s is not a sealed image", name);
	return r == 0 ? choose_layer(out, &chain, e) : r;
}

const char *sealed_name(const struct sealed_layer *s, uint32_t layer, char name[static SEALED_NAME_SIZE])
{
	char text[DIGEST_TEXT_SIZE];

	(void)snprintf(name, SEALED_NAME_SIZE, "sealed/%s/%s", digest_text(&s->image.chain_ids[layer], text),
		       s->reference);
	return name;
}
