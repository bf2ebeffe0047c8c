/* SPDX-License-Identifier: Apache-2.0
 * Reading from a registry. A transfer that breaks goes on where it stopped; what was delivered once is never
 * delivered again. */
#include "chunkstore/registry.h"
#include "chunkstore/registry_call.h"
#include "crypto/sha256.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SKIP (8ull << 20) /* of a blob that is sent from its start though a range was asked for */
#define ACCEPT OCI_TYPE_MANIFEST ", " OCI_TYPE_INDEX ", " DOCKER_TYPE_MANIFEST ", " DOCKER_TYPE_LIST

static int copy_names(struct registry_client *c, const struct registry_options *o)
{
	if (o->n_plain_http == 0)
		return 0;
	c->plain_http = calloc(o->n_plain_http, sizeof(*c->plain_http));
	if (!c->plain_http)
		return -ENOMEM;
	for (; c->n_plain_http < o->n_plain_http; c->n_plain_http++) {
		c->plain_http[c->n_plain_http] = strdup(o->plain_http[c->n_plain_http]);
		if (!c->plain_http[c->n_plain_http])
			return -ENOMEM;
	}
	return 0;
}

int registry_client_open(struct registry_client **out, const struct registry_options *options, struct err *e)
{
	struct registry_client *c = calloc(1, sizeof(*c));
	pthread_condattr_t attributes;
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->stop, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	(void)pthread_mutex_init(&c->lock, NULL);
	c->patience_ms = options->patience_ms ? (int64_t)options->patience_ms : 30000;
	c->docker_config = options->docker_config ? strdup(options->docker_config) : NULL;
	r = http_pool_open(&c->pool, options, e);
	if (r == 0 && (copy_names(c, options) < 0 || (options->docker_config && !c->docker_config)))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r < 0) {
		registry_client_close(c);
		return r;
	}
	*out = c;
	return 0;
}

void registry_client_stop(struct registry_client *c)
{
	http_pool_stop(c->pool);
	(void)pthread_mutex_lock(&c->lock);
	(void)pthread_cond_broadcast(&c->stop);
	(void)pthread_mutex_unlock(&c->lock);
}

void registry_client_close(struct registry_client *c)
{
	if (!c)
		return;
	endpoints_free(c);
	http_pool_close(c->pool);
	for (size_t i = 0; i < c->n_plain_http; i++)
		free(c->plain_http[i]);
	free(c->plain_http);
	free(c->docker_config);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_cond_destroy(&c->stop);
	free(c);
}

static int set_path(struct registry_call *call, const char *kind, const char *name, struct err *e)
{
	int n = snprintf(call->path, sizeof(call->path), "/v2/%s/%s/%s", call->where->repository, kind, name);

	return n < 0 || (size_t)n >= sizeof(call->path) ? err_set(e, -EINVAL, "image name too long") : 0;
}

struct manifest_sink {
	struct buf *bytes;
	size_t start; /* what the caller had in it before */
};

static int take_manifest(void *arg, const void *p, size_t n)
{
	struct manifest_sink *m = arg;

	buf_put(m->bytes, p, n);
	return buf_failed(m->bytes) ? -E2BIG : 0;
}

/* An attempt that broke leaves nothing. */
static int restart_manifest(void *arg, const struct http_answer *answer)
{
	struct manifest_sink *m = arg;

	m->bytes->size = m->start;
	return answer->has_length && answer->length > m->bytes->max - m->start ? -E2BIG : 0;
}

int registry_get_manifest(struct registry_client *c, const struct reference *ref, struct buf *bytes,
			  struct digest *digest, struct err *e)
{
	struct manifest_sink sink = {bytes, bytes->size};
	struct registry_call call = {.where = ref,
				     .x = {.method = "GET",
					   .accept = ACCEPT,
					   .begin = restart_manifest,
					   .sink = take_manifest,
					   .arg = &sink}};
	char text[DIGEST_TEXT_SIZE];
	struct retry retry = {0};
	struct digest got;
	int r;

	r = set_path(&call, "manifests", ref->has_digest ? digest_text(&ref->digest, text) : ref->tag, e);
	if (r < 0)
		return r;
	while ((r = registry_call(c, &call, e)) < 0) {
		r = registry_retry(c, &retry, r, &call.x.answer, e);
		if (r == -E2BIG)
			return err_set(e, r, "%s: manifest of more than %zu bytes", ref->registry,
				       bytes->max - sink.start);
		if (r < 0)
			return r;
	}
	if (bytes->size == sink.start)
		return err_set(e, -EBADE, "%s/%s: empty manifest", ref->registry, ref->repository);
	r = sha256(&got, bytes->data + sink.start, bytes->size - sink.start);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (ref->has_digest && !digest_equal(&got, &ref->digest))
		return err_set(e, -EBADMSG, "%s/%s: the manifest does not have the digest it was asked by",
			       ref->registry, ref->repository);
	*digest = got;
	return 0;
}

/* What of a range has arrived. */
struct transfer {
	registry_sink *sink;
	void *arg;
	uint64_t at, left; /* next byte wanted, and how many */
	uint64_t skip;	   /* bytes to drop before it: the registry sent the blob from its start */
	bool whole;	   /* not a range */
	int error;	   /* of the sink */
	const char *why;   /* the registry's answer was refused */
};

static int refuse(struct transfer *t, const char *why)
{
	t->why = why;
	return -EBADE;
}

/* A 206 begins where it was asked to and is no longer than that; a 200 is the blob from its start. */
static int begin_transfer(void *arg, const struct http_answer *a)
{
	struct transfer *t = arg;

	t->skip = 0;
	if (a->status == 206) {
		if (!a->has_range || a->range.first != t->at || a->range.last - t->at >= t->left)
			return refuse(t, "another range came than was asked for");
		return 0;
	}
	if (a->status != 200)
		return refuse(t, "neither the blob nor a range of it");
	if (t->whole && a->has_length && a->length != t->at + t->left)
		return refuse(t, "the blob has another size");
	if (!t->whole && t->at > MAX_SKIP)
		return refuse(t, "the registry cannot send ranges");
	t->skip = t->at;
	return 0;
}

static int take_transfer(void *arg, const void *p, size_t n)
{
	struct transfer *t = arg;
	const uint8_t *from = p;
	size_t part;

	if (t->skip >= n) {
		t->skip -= n;
		return 0;
	}
	from += t->skip;
	n -= (size_t)t->skip;
	t->skip = 0;
	part = n < t->left ? n : (size_t)t->left;
	if (part > 0) {
		t->error = t->sink(t->arg, from, part);
		if (t->error < 0)
			return t->error;
		t->at += part;
		t->left -= part;
	}
	if (part == n)
		return 0;
	/* what follows the range in the blob is not waited for */
	return t->whole ? refuse(t, "the blob is longer") : -ENODATA;
}

/* Run the transfer until nothing is left. */
static int run_transfer(struct registry_client *c, const struct reference *where, const struct digest *blob,
			struct transfer *t, struct err *e)
{
	struct registry_call call = {
		.where = where,
		.blob = blob,
		.x = {.method = "GET", .begin = begin_transfer, .sink = take_transfer, .arg = t}};
	char text[DIGEST_TEXT_SIZE], range[64];
	struct retry retry = {0};
	int r;

	r = set_path(&call, "blobs", digest_text(blob, text), e);
	while (r == 0) {
		uint64_t before = t->at;

		(void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, t->at,
			       t->at + t->left - 1);
		call.x.range = t->whole && t->at == 0 ? NULL : range;
		r = registry_call(c, &call, e);
		if (t->error < 0)
			return t->error;
		if (t->why)
			return err_set(e, r, "%s: blob %s: %s", where->registry, text, t->why);
		if (t->left == 0)
			return 0;
		if (t->at > before)
			registry_progress(&retry);
		if (r == 0)
			r = err_set(e, -EAGAIN, "%s: %s: ends early, %" PRIu64 " bytes are missing",
				    where->registry, text, t->left);
		if (r == -ERANGE)
			r = err_prefix(e, -EBADE, "the blob is shorter than asked");
		r = registry_retry(c, &retry, r, &call.x.answer, e);
	}
	return r == -EBADE ? err_prefix(e, r, "%s: blob %s: not the range that was asked for",
					where->registry, text)
			   : r;
}

int registry_get_range(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       uint64_t offset, uint64_t n, registry_sink *sink, void *arg, struct err *e)
{
	struct transfer t = {.sink = sink, .arg = arg, .at = offset, .left = n};
	uint64_t end;

	if (n == 0 || __builtin_add_overflow(offset, n, &end) || end > INT64_MAX)
		return err_set(e, -EINVAL, "range of %" PRIu64 " bytes at %" PRIu64, n, offset);
	return run_transfer(c, where, blob, &t, e);
}

/* A blob's bytes on their way to the caller are hashed. */
struct hashed {
	registry_sink *sink;
	void *arg;
	struct sha256 hash;
};

static int take_hashed(void *arg, const void *p, size_t n)
{
	struct hashed *h = arg;
	int r = sha256_update(&h->hash, p, n);

	return r < 0 ? r : h->sink(h->arg, p, n);
}

int registry_get_blob(struct registry_client *c, const struct reference *where, const struct oci_blob *blob,
		      registry_sink *sink, void *arg, struct err *e)
{
	struct hashed hashed = {.sink = sink, .arg = arg};
	struct transfer t = {.sink = take_hashed, .arg = &hashed, .left = blob->size, .whole = true};
	char text[DIGEST_TEXT_SIZE];
	struct digest got;
	int r;

	r = sha256_init(&hashed.hash);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (blob->size > 0)
		r = run_transfer(c, where, &blob->digest, &t, e);
	if (r == 0)
		r = sha256_final(&hashed.hash, &got);
	sha256_deinit(&hashed.hash);
	if (r == 0 && !digest_equal(&got, &blob->digest))
		r = err_set(e, -EBADMSG, "%s: blob %s: the registry's bytes have another digest",
			    where->registry, digest_text(&blob->digest, text));
	return r;
}

int registry_head_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       bool push, uint64_t *size, struct err *e)
{
	struct registry_call call = {.where = where, .push = push, .x = {.method = "HEAD"}};
	char text[DIGEST_TEXT_SIZE];
	struct retry retry = {0};
	int r;

	r = set_path(&call, "blobs", digest_text(blob, text), e);
	if (r < 0)
		return r;
	while ((r = registry_call(c, &call, e)) < 0) {
		r = registry_retry(c, &retry, r, &call.x.answer, e);
		if (r < 0)
			return r;
	}
	if (size)
		*size = call.x.answer.length;
	return 0;
}

int registry_has_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		      uint64_t *size, struct err *e)
{
	return registry_head_blob(c, where, blob, false, size, e);
}
