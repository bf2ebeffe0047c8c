/* SPDX-License-Identifier: Apache-2.0
 * One HTTP exchange over libcurl, with everything that comes back bounded and the body handed to a sink.
 * Connections are pooled: each belongs to one exchange at a time and is used again for the same host. Knows
 * nothing of registries, credentials or redirects. Any thread. */
#ifndef COCOON_CHUNKSTORE_HTTP_H
#define COCOON_CHUNKSTORE_HTTP_H

#include "chunkstore/http_headers.h"
#include "chunkstore/registry.h"
#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_MAX_URL 8192 /* presigned URLs are long */
#define HTTP_MAX_WORDS 200

struct http_pool;

/* What a client's options say to each exchange. Strings are copied. */
int http_pool_open(struct http_pool **out, const struct registry_options *options, struct err *e);
void http_pool_stop(struct http_pool *p); /* exchanges end soon with -ECANCELED */
bool http_pool_stopped(struct http_pool *p);
void http_pool_close(struct http_pool *p); /* no exchange may be running. NULL is fine */

struct http_answer {
	long status; /* 0: none came */
	bool has_length, has_range, has_received;
	uint64_t length;	 /* Content-Length */
	struct http_range range; /* Content-Range */
	uint64_t received;	 /* Range of an upload's status */
	uint64_t retry_after_s;	 /* 0: not said */
	struct http_challenge challenge;
	char location[HTTP_MAX_URL];	/* Location, made absolute; "" when there is none */
	char words[HTTP_MAX_WORDS + 1]; /* beginning of the body of a failure */
};

struct http_exchange {
	/* the question; pointers are borrowed */
	const char *method; /* GET, HEAD, POST, PUT, PATCH */
	const char *url;
	const char *authorization; /* value of that header; NULL: none. Secret */
	const char *accept;
	const char *content_type;
	const char *range;		  /* value of Range */
	const char *content_range;	  /* value of Content-Range, of what is sent */
	const struct registry_body *body; /* sent from body_from, body_size bytes; NULL: no body */
	uint64_t body_from, body_size;
	bool direct; /* use no proxy */

	/* The body of a 2xx: `begin` (may be NULL) sees the headers first and can refuse with a negative
	 * errno. */
	int (*begin)(void *arg, const struct http_answer *answer);
	registry_sink *sink; /* NULL: the body is not wanted */
	void *arg;

	/* the answer */
	struct http_answer answer;
	bool tls_refused; /* the other side does not speak TLS */
};

/* 0 when an answer came whole, whatever its status. -EAGAIN: no connection, or it broke; -EACCES: the
 * certificate is not good; -ECANCELED; -E2BIG: headers beyond bounds; what begin, sink or body gave. */
int http_exchange(struct http_pool *p, struct http_exchange *x, struct err *e);

/* "scheme://host:port" of a URL, lower case, into `to`. 0 or -EINVAL (also for schemes but http and https).
 */
#define HTTP_ORIGIN_SIZE 300
int http_url_origin(const char *url, char to[static HTTP_ORIGIN_SIZE]);

/* Resolve `reference` against `base` into `to`. 0 or -EINVAL. */
int http_url_resolve(const char *base, const char *reference, char to[static HTTP_MAX_URL]);

/* Append "name=value", escaped, to the URL's query. 0 or -EINVAL when it gets too long. */
int http_url_add(char url[static HTTP_MAX_URL], const char *name, const char *value);

#endif
