/* SPDX-License-Identifier: Apache-2.0
 * The registry, in the place of the host's client for one: it has all images, is slow, away, or lies. */
#include "chunkstore/registry.h"
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE (2 * SECOND)

struct registry_client {
	bool stopped;
};

static bool down, retagged;

void registry_reset(void)
{
	down = retagged = false;
}

void registry_down(bool is_down)
{
	down = is_down;
	trace("registry", is_down, 0);
}

void registry_retag(void)
{
	retagged = true;
	trace("retag", 0, 0);
}

int registry_client_open(struct registry_client **out, const struct registry_options *options, struct err *e)
{
	(void)options, (void)e;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void registry_client_stop(struct registry_client *c)
{
	c->stopped = true;
	sim_wake_all(c);
}

void registry_client_close(struct registry_client *c)
{
	free(c);
}

/* A question takes its time; 0, or why there is no answer. */
static int ask(struct registry_client *c, struct err *e)
{
	int64_t until = sim_now() + dice_range(OF_REGISTRY, 0, plan.healed ? 2 * MS : plan.registry_delay);

	while (!c->stopped && sim_now() < until)
		(void)sim_wait(c, until);
	until = sim_now() + PATIENCE;
	while (!c->stopped && down && sim_now() < until)
		(void)sim_wait(c, sim_now() + 100 * MS);
	if (c->stopped)
		return err_set(e, -ECANCELED, "stopped");
	if (down)
		return err_set(e, -EAGAIN, "the registry does not answer");
	if (!plan.healed && dice_chance(OF_REGISTRY, plan.registry_fails)) {
		static const int final[] = {-ENOENT, -EACCES, -EBADE};

		totals.faults++;
		trace("registry fails", 0, 0);
		if (plan.temper == HOSTILE && dice_chance(OF_REGISTRY, 300))
			return err_set(e, final[dice_below(OF_REGISTRY, 3)], "made up");
		return err_set(e, -EAGAIN, "made up");
	}
	return 0;
}

int registry_get_manifest(struct registry_client *c, const struct reference *ref, struct buf *bytes,
			  struct digest *digest, struct err *e)
{
	const struct sim_image *x = retagged ? plan.other : plan.image;
	int r = ask(c, e);

	if (r < 0)
		return r;
	if (ref->has_digest) {
		x = NULL;
		for (unsigned int k = 0; k < N_IMAGES; k++)
			if (digest_equal(&images[k].manifest, &ref->digest))
				x = &images[k];
	}
	if (!x)
		return err_set(e, -ENOENT, "no such manifest");
	buf_put(bytes, x->sealed.manifest, strlen(x->sealed.manifest));
	*digest = x->manifest;
	return buf_failed(bytes) ? -ENOMEM : 0;
}

static const uint8_t *find_blob(const struct digest *digest, size_t *size)
{
	for (unsigned int k = 0; k < N_IMAGES; k++) {
		const struct sim_image *x = &images[k];

		if (digest_equal(&x->config_digest, digest)) {
			*size = strlen(x->config);
			return (const uint8_t *)x->config;
		}
		for (uint32_t b = 0; b < x->sealed.n_blobs; b++) {
			if (digest_equal(&x->blobs[b], digest)) {
				*size = x->sealed.blobs[b].size;
				return x->sealed.blobs[b].data;
			}
		}
	}
	return NULL;
}

/* Bytes come in pieces, perhaps with a wrong one, perhaps not all of them. */
static int give(struct registry_client *c, const uint8_t *p, size_t n, bool checked, registry_sink *sink,
		void *arg, struct err *e)
{
	bool lies = !plan.healed && !checked && dice_chance(OF_REGISTRY, plan.registry_lies);
	size_t wrong = lies ? dice_below(OF_REGISTRY, (uint32_t)n) : SIZE_MAX, part;

	for (size_t at = 0; at < n; at += part) {
		const uint8_t byte = p[at] ^ 0x10;
		int r = at > 0 && dice_chance(OF_REGISTRY, 200) ? ask(c, e) : 0;

		if (r < 0)
			return r;
		part = 1 + dice_below(OF_REGISTRY, 65536);
		if (part > n - at)
			part = n - at;
		if (at < wrong && part > wrong - at)
			part = wrong - at;
		if (at == wrong) {
			totals.faults++;
			trace("registry lies", 0, 0);
			part = 1;
		}
		r = sink(arg, at == wrong ? &byte : p + at, part);
		if (r < 0)
			return err_set(e, r, "the sink fails");
	}
	return 0;
}

int registry_get_range(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       uint64_t offset, uint64_t n, registry_sink *sink, void *arg, struct err *e)
{
	size_t size = 0;
	const uint8_t *p = find_blob(blob, &size);
	int r = ask(c, e);

	(void)where;
	if (r < 0)
		return r;
	if (!p || offset > size || n > size - offset)
		return err_set(e, -ENOENT, "no such blob, or not as long");
	trace("range", (int64_t)offset, (int64_t)n);
	return give(c, p + offset, (size_t)n, false, sink, arg, e);
}

int registry_get_blob(struct registry_client *c, const struct reference *where, const struct oci_blob *blob,
		      registry_sink *sink, void *arg, struct err *e)
{
	size_t size = 0;
	const uint8_t *p = find_blob(&blob->digest, &size);
	int r = ask(c, e);

	(void)where;
	if (r < 0)
		return r;
	if (!p || size != blob->size)
		return err_set(e, -ENOENT, "no such blob");
	trace("blob", (int64_t)size, 0);
	return give(c, p, size, true, sink, arg, e);
}
