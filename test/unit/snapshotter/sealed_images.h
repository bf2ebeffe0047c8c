/* SPDX-License-Identifier: Apache-2.0
 * Two sealed images that share their first layer, in a chunk store of the test's own, and the calls that
 * containerd makes to have them. `snapshots` is whom the calls go to. */
#ifndef COCOON_TEST_SEALED_IMAGES_H
#define COCOON_TEST_SEALED_IMAGES_H

#include "snapshotter/snapshots.h"
#include "test/unit/scratch.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define MANIFEST "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER_MANIFEST "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define PLAIN_MANIFEST "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define LOST_MANIFEST "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define N_LAYERS 3
/* Chain IDs: a digit for each layer. The two sealed images share layer 0. */
#define CHAIN(c) "sha256:00000000000000000000000000000000000000000000000000000000000000" c

static struct sealed_finder *finder;
static struct snapshots *snapshots;
static struct labels none;
static atomic_uint asked; /* how often the store was */

/* What the chunk store would say. */
int chunkstore_prepare_image(struct chunkstore *s, const char *reference, const struct digest *manifest,
			     struct prepared_image *out, struct err *e)
{
	char text[DIGEST_TEXT_SIZE];

	(void)s;
	asked++;
	(void)digest_text(manifest, text);
	cr_assert_not_null(strstr(reference, text), "%s is not what the reference says: %s", text, reference);
	if (strcmp(text, PLAIN_MANIFEST) == 0)
		return IMAGE_NOT_SEALED;
	if (strcmp(text, LOST_MANIFEST) == 0)
		return err_set(e, -EAGAIN, "no connection");
	*out = (struct prepared_image){.manifest = *manifest, .n_layers = N_LAYERS};
	for (uint8_t i = 0; i < N_LAYERS; i++) {
		bool other = i > 0 && strcmp(text, OTHER_MANIFEST) == 0;

		out->layers[i].bytes[0] = (uint8_t)(i + 1 + (other ? 8 : 0));
		out->chain_ids[i].bytes[31] = (uint8_t)(i + 1 + (other ? 8 : 0));
	}
	return 0;
}

static int prepare(const char *key, const char *parent, const struct labels *labels, struct mount *m)
{
	struct mount unused = {0};
	struct err e = {""};
	int r = snapshots_prepare(snapshots, SNAPSHOT_ACTIVE, key, parent, labels ? labels : &none,
				  m ? m : &unused, &e);

	mount_deinit(&unused);
	cr_assert(r == 0 || strlen(e.text) > 0, "error %d without words", r);
	return r;
}

/* Prepare of a layer, labelled as a puller labels it. */
static int prepare_layer(const char *manifest, const char *chain, const char *parent, bool sealed)
{
	cleanup_labels struct labels l = {0};

	cr_assert_eq(labels_set(&l, LABEL_REF, chain, NULL), 0);
	cr_assert_eq(labels_set(&l, LABEL_IMAGE_REF, "r.example/x:1", NULL), 0);
	cr_assert_eq(labels_set(&l, LABEL_MANIFEST_DIGEST, manifest, NULL), 0);
	if (sealed)
		cr_assert_eq(labels_set(&l, LABEL_SEALED, "true", NULL), 0);
	return prepare("ns/1/extract", parent, &l, NULL);
}

struct search {
	const char *chain;
	char name[SEALED_NAME_SIZE];
	size_t n;
};

static int compare(void *arg, const struct snapshot *x)
{
	struct search *s = arg;
	const char *ref = labels_get(&x->labels, LABEL_REF);

	if (ref && strcmp(ref, s->chain) == 0 && x->kind == SNAPSHOT_COMMITTED) {
		(void)snprintf(s->name, sizeof(s->name), "%s", x->name);
		s->n++;
	}
	return 0;
}

/* The backend's name for a chain ID, found as containerd finds it: by List. */
static const char *name_of(const char *chain)
{
	static struct search s[4];
	static unsigned turn;
	struct search *this = &s[turn++ % 4];
	struct filter *f;

	*this = (struct search){.chain = chain};
	cr_assert_eq(filter_parse(&f, NULL, 0, NULL), 0);
	cr_assert_eq(snapshots_list(snapshots, f, compare, this, NULL), 0);
	filter_free(f);
	cr_assert_eq(this->n, 1, "%zu snapshots for %s", this->n, chain);
	return this->name;
}

static void pull(const char *manifest, const char *const chains[N_LAYERS])
{
	const char *parent = "";

	for (size_t i = 0; i < N_LAYERS; i++) {
		cr_assert_eq(prepare_layer(manifest, chains[i], parent, true), -EEXIST, "layer %zu", i);
		parent = name_of(chains[i]);
	}
}

static const char *const chains[] = {CHAIN("01"), CHAIN("02"), CHAIN("03")};
static const char *const other_chains[] = {CHAIN("01"), CHAIN("0a"), CHAIN("0b")};

static const char *option(const struct mount *m, const char *name)
{
	for (size_t i = 0; i < m->n_options; i++)
		if (strncmp(m->options[i], name, strlen(name)) == 0)
			return m->options[i] + strlen(name);
	return NULL;
}

#endif
