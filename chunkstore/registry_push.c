/* SPDX-License-Identifier: Apache-2.0
 * Pushing to a registry (distribution-spec, "Pushing blobs in chunks"). An upload is a small machine: start,
 * send, finish; whatever breaks, the registry is asked how much it has, and the upload goes on from there.
 * Some have forgotten all of it by then (docker-registry 2 drops an upload whose connection broke): then it
 * begins again. */
#include "chunkstore/registry.h"
#include "chunkstore/registry_call.h"
#include "proto/base/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define AT_ONCE (1u << 20)  /* smaller blobs travel with the closing request */
#define MAX_STARTS 8	    /* that may use up patience anew: a registry can lose an upload each time */
#define PIECE (64ull << 20) /* of larger ones; a registry keeps complete pieces whatever happens */

enum step { START, SEND, FINISH, ASK, DONE };

struct upload {
	struct registry_client *client;
	const struct reference *where;
	const struct digest *blob;
	const struct registry_body *body;
	const char *mount_from; /* NULL, or once it was refused */
	char location[HTTP_MAX_URL];
	uint64_t at; /* bytes the registry has */
	unsigned starts;
	struct retry retry;
	struct http_answer answer; /* the last one */
	enum step step;
	bool resumed; /* after a failure; not only what we sent in one piece */
	int result;
};

static int body_file_read(void *arg, void *to, size_t n, uint64_t offset)
{
	const int *fd = arg;

	return pread_full(*fd, to, n, offset);
}

struct registry_body registry_body_file(int *fd, uint64_t size)
{
	return (struct registry_body){body_file_read, fd, size};
}

static int upload_call(struct upload *u, struct registry_call *call, struct err *e)
{
	int r;

	call->where = u->where;
	call->push = true;
	r = registry_call(u->client, call, e);
	u->answer = call->x.answer;
	if (r == 0 && u->answer.status == 202 && u->answer.location[0])
		memcpy(u->location, u->answer.location, sizeof(u->location));
	return r;
}

static int start(struct upload *u, struct err *e)
{
	struct registry_call call = {.mount_from = u->mount_from, .x = {.method = "POST"}};
	char text[DIGEST_TEXT_SIZE];
	int n, r;

	u->location[0] = '\0';
	u->at = 0;
	u->resumed = false;
	u->starts++;
	if (u->mount_from)
		n = snprintf(call.path, sizeof(call.path), "/v2/%s/blobs/uploads/?mount=%s&from=%s",
			     u->where->repository, digest_text(u->blob, text), u->mount_from);
	else
		n = snprintf(call.path, sizeof(call.path), "/v2/%s/blobs/uploads/", u->where->repository);
	if (n < 0 || (size_t)n >= sizeof(call.path))
		return err_set(e, -EINVAL, "image name too long");
	r = upload_call(u, &call, e);
	if (r < 0 && r != -EAGAIN && u->mount_from) {
		u->mount_from = NULL; /* no right to read it there is no reason to fail */
		return start(u, e);
	}
	if (r < 0)
		return r;
	if (u->mount_from && u->answer.status == 201) {
		u->result = REGISTRY_MOUNTED;
		u->step = DONE;
		return 0;
	}
	if (!u->location[0])
		return err_set(e, -EBADE, "%s: an upload without a location", u->where->registry);
	u->step = u->body->size <= AT_ONCE ? FINISH : SEND;
	return 0;
}

/* A piece of a large blob. */
static int send_piece(struct upload *u, struct err *e)
{
	uint64_t n = u->body->size - u->at < PIECE ? u->body->size - u->at : PIECE;
	struct registry_call call = {.x = {.method = "PATCH",
					   .content_type = "application/octet-stream",
					   .body = u->body,
					   .body_from = u->at,
					   .body_size = n}};
	char range[64];
	int r;

	(void)snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, u->at, u->at + n - 1);
	call.x.content_range = range;
	memcpy(call.url, u->location, sizeof(call.url));
	r = upload_call(u, &call, e);
	if (r == -ERANGE) /* it has less or more than we think */
		return -EAGAIN;
	if (r < 0)
		return r;
	u->at += n;
	if (u->answer.has_received && u->answer.received != u->at)
		return err_set(e, -EAGAIN, "%s: has %" PRIu64 " bytes of the upload instead of %" PRIu64,
			       u->where->registry, u->answer.received, u->at);
	u->step = u->at == u->body->size ? FINISH : SEND;
	return 0;
}

/* Close the upload, with what is left of the blob. */
static int finish(struct upload *u, struct err *e)
{
	struct registry_call call = {.x = {.method = "PUT"}};
	char text[DIGEST_TEXT_SIZE];
	int r;

	memcpy(call.url, u->location, sizeof(call.url));
	r = http_url_add(call.url, "digest", digest_text(u->blob, text));
	if (r < 0)
		return err_set(e, -EBADE, "%s: upload location too long", u->where->registry);
	if (u->at < u->body->size) {
		call.x.content_type = "application/octet-stream";
		call.x.body = u->body;
		call.x.body_from = u->at;
		call.x.body_size = u->body->size - u->at;
	}
	r = upload_call(u, &call, e);
	if (r == 0)
		u->step = DONE;
	if (r == -EBADE && u->resumed) { /* it kept something else than it said */
		u->location[0] = '\0';
		return -EAGAIN;
	}
	return r;
}

/* After a failure: what does the registry have? */
static int ask(struct upload *u, struct err *e)
{
	struct registry_call call = {.x = {.method = "GET"}};
	int r;

	/* the answer to a closing request may be all that was lost */
	r = registry_head_blob(u->client, u->where, u->blob, true, NULL, e);
	if (r == 0)
		u->step = DONE;
	if (r != -ENOENT)
		return r;
	memcpy(call.url, u->location, sizeof(call.url));
	r = upload_call(u, &call, e);
	if (r == -EAGAIN || r == -ECANCELED)
		return r;
	if (r < 0 || !u->answer.has_received || u->answer.received == 0 ||
	    u->answer.received > u->body->size) {
		u->location[0] = '\0';
		return err_set(e, -EAGAIN, "%s: has forgotten the upload", u->where->registry);
	}
	if (u->answer.location[0])
		memcpy(u->location, u->answer.location, sizeof(u->location));
	u->at = u->answer.received;
	u->resumed = true;
	u->step = u->body->size - u->at <= AT_ONCE ? FINISH : SEND;
	return 0;
}

static int take_step(struct upload *u, struct err *e)
{
	switch (u->step) {
	case START:
		return start(u, e);
	case SEND:
		return send_piece(u, e);
	case FINISH:
		return finish(u, e);
	case ASK:
		return ask(u, e);
	case DONE:
		break;
	}
	return 0;
}

int registry_push_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       const struct registry_body *body, const char *mount_from, struct err *e)
{
	struct upload u = {.client = c,
			   .where = where,
			   .blob = blob,
			   .body = body,
			   .mount_from = mount_from,
			   .step = START};
	char text[DIGEST_TEXT_SIZE];
	int r;

	r = registry_head_blob(c, where, blob, true, NULL, e);
	if (r == 0)
		return REGISTRY_PRESENT;
	if (r != -ENOENT)
		return r;
	while (u.step != DONE) {
		uint64_t before = u.at;

		r = take_step(&u, e);
		if (u.at > before && u.starts <= MAX_STARTS)
			registry_progress(&u.retry);
		if (r == 0)
			continue;
		r = registry_retry(c, &u.retry, r, &u.answer, e);
		if (r < 0)
			return err_prefix(e, r, "push of %s", digest_text(blob, text));
		u.step = u.location[0] ? ASK : START;
	}
	return u.result;
}

static int body_memory_read(void *arg, void *to, size_t n, uint64_t offset)
{
	const struct bytes *b = arg;

	memcpy(to, b->at + offset, n);
	return 0;
}

int registry_put_manifest(struct registry_client *c, const struct reference *ref, const char *media_type,
			  const void *bytes, size_t n, struct err *e)
{
	struct bytes memory = bytes_of(bytes, n);
	struct registry_body body = {body_memory_read, &memory, n};
	struct registry_call call = {
		.where = ref,
		.push = true,
		.x = {.method = "PUT", .content_type = media_type, .body = &body, .body_size = n}};
	const char *name = ref->tag;
	char text[DIGEST_TEXT_SIZE];
	struct retry retry = {0};
	int length, r;

	if (!*name && ref->has_digest)
		name = digest_text(&ref->digest, text);
	length = snprintf(call.path, sizeof(call.path), "/v2/%s/manifests/%s", ref->repository, name);
	if (length < 0 || (size_t)length >= sizeof(call.path) || !*name)
		return err_set(e, -EINVAL, "image name without a tag, or too long");
	while ((r = registry_call(c, &call, e)) < 0) {
		r = registry_retry(c, &retry, r, &call.x.answer, e);
		if (r < 0)
			return r;
	}
	return 0;
}
