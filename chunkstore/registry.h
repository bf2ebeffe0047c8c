/* SPDX-License-Identifier: Apache-2.0
 * A client of the OCI distribution API over libcurl: resolves references, reads manifests, blobs and ranges
 * of blobs, and pushes. Connections are kept and used again; tokens are kept until they expire. Failures that
 * may pass (no connection, 429, 5xx, a body that breaks off) are tried again with back-off, and transfers go
 * on where they broke, as long as the client's patience lasts. All calls block; any thread.
 *
 * Everywhere `where` needs only its registry and repository unless said otherwise, and errors are
 *   -ENOENT        the registry does not have it            -EACCES      the registry refuses us (401, 403)
 *   -EAGAIN        no connection, 429, 5xx, broken transfers, until patience ended
 *   -EBADMSG       a digest did not match                   -EBADE       another unexpected answer
 *   -E2BIG         more than we take                        -ECANCELED   registry_client_stop() was called */
#ifndef COCOON_CHUNKSTORE_REGISTRY_H
#define COCOON_CHUNKSTORE_REGISTRY_H

#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"

#include <stddef.h>
#include <stdint.h>

/* All zero is a good default. Strings are copied. */
struct registry_options {
	const char *ca_file;	   /* PEM; NULL: the system's certificates */
	const char *docker_config; /* config.json with credentials; NULL: docker's own place */
	const char *const
		*plain_http;	/* registries (host[:port]) that are spoken to without TLS; loopback hosts */
	size_t n_plain_http;	/* are tried with TLS first and without it then */
	const char *user_agent; /* NULL: cocoon/VERSION */
	unsigned connect_timeout_ms; /* 0: 10,000 */
	unsigned stall_timeout_ms;   /* a transfer that moves fewer than 1 KiB/s for so long has broken; 0:
					15,000 */
	unsigned patience_ms;	     /* how long a call goes on trying without progress; 0: 30,000 */
};

struct registry_client;

int registry_client_open(struct registry_client **out, const struct registry_options *options, struct err *e);
/* Every call that runs, or comes later, ends soon with -ECANCELED. */
void registry_client_stop(struct registry_client *c);
/* No call may be running. Wipes credentials and tokens. NULL is fine. */
void registry_client_close(struct registry_client *c);

/* The manifest or index that `ref` names (by its digest when it has one, else by its tag), appended to
 * `bytes` (born with its largest size). *digest is that of the bytes; when `ref` has a digest they were
 * checked against it. */
int registry_get_manifest(struct registry_client *c, const struct reference *ref, struct buf *bytes,
			  struct digest *digest, struct err *e);

/* Takes what arrives, in order, each byte once. Negative errno ends the transfer with that error. */
typedef int registry_sink(void *arg, const void *p, size_t n);

/* Exactly n bytes of a blob at `offset`. Their contents are not checked. n > 0. */
int registry_get_range(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       uint64_t offset, uint64_t n, registry_sink *sink, void *arg, struct err *e);

/* The whole blob; its size and digest are checked when the last byte has gone to the sink: what the sink made
 * of it is good only when this returns 0. */
int registry_get_blob(struct registry_client *c, const struct reference *where, const struct oci_blob *blob,
		      registry_sink *sink, void *arg, struct err *e);

/* 0 when the blob is there, -ENOENT when not. *size (may be NULL) is what the registry says. */
int registry_has_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		      uint64_t *size, struct err *e);

/* Bytes to push: n bytes at `offset` into `to`, 0 or a negative errno. Called in order, from the calling
 * thread, and again from an earlier offset after a broken connection. */
struct registry_body {
	int (*read)(void *arg, void *to, size_t n, uint64_t offset);
	void *arg;
	uint64_t size;
};

/* A body over an open file; borrows *fd. */
struct registry_body registry_body_file(int *fd, uint64_t size);

enum registry_push_answer { REGISTRY_PRESENT = 1, REGISTRY_MOUNTED = 2 };

/* Make the repository hold the blob. 0 when it was uploaded; REGISTRY_PRESENT when it was there;
 * REGISTRY_MOUNTED when the registry took it over from `mount_from` (another repository of the same registry,
 * or NULL). */
int registry_push_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       const struct registry_body *body, const char *mount_from, struct err *e);

/* Store a manifest under ref's tag (its digest when it has no tag). */
int registry_put_manifest(struct registry_client *c, const struct reference *ref, const char *media_type,
			  const void *bytes, size_t n, struct err *e);

#endif
