/* SPDX-License-Identifier: Apache-2.0
 * One call to a registry: finds out whether it speaks TLS, authorises, follows redirects without carrying
 * credentials to another host, and gives the answer's status a meaning. Also what is known about each
 * registry. Internal to the registry client; any thread. */
#ifndef COCOON_CHUNKSTORE_REGISTRY_CALL_H
#define COCOON_CHUNKSTORE_REGISTRY_CALL_H

#include "chunkstore/http.h"
#include "chunkstore/registry.h"
#include "proto/base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define REGISTRY_SCOPE_SIZE 1024

struct token {
	char *scope;
	char *header; /* secret: the value of Authorization */
	int64_t expires_ms;
	struct token *next;
};

/* Where a blob was redirected to last. */
struct blob_place {
	struct digest blob;
	int64_t expires_ms; /* 0: unused */
	char *url;	    /* owned; it may hold a signature */
};

#define ENDPOINT_PLACES 64

/* What is known about one registry. Guarded by the client's lock, but for the names, which never change. */
struct endpoint {
	char registry[256]; /* as references name it */
	char host[256];	    /* who is asked: the same, but for docker.io */
	bool loopback;
	bool plain;			 /* without TLS */
	bool settled;			 /* ... and that is certain */
	struct http_challenge challenge; /* how it wants to be asked, once it said so */
	char *basic;			 /* secret: the value of Authorization */
	struct token *tokens;
	struct blob_place places[ENDPOINT_PLACES];
	unsigned next_place;
	unsigned refs;
	int64_t used_ms;
	struct endpoint *next;
};

struct registry_client {
	struct http_pool *pool;
	char *docker_config;
	char **plain_http;
	size_t n_plain_http;
	int64_t patience_ms;
	pthread_mutex_t lock; /* guards the endpoints; never held across I/O */
	pthread_cond_t stop;  /* told by registry_client_stop() */
	struct endpoint *endpoints;
	unsigned n_endpoints;
};

struct registry_call {
	const struct reference *where;
	char path[HTTP_MAX_URL];   /* behind scheme and host; or */
	char url[HTTP_MAX_URL];	   /* absolute, when not empty */
	const struct digest *blob; /* of a GET whose redirect may be remembered, or NULL */
	bool push;		   /* needs the right to push */
	const char *mount_from;	   /* needs the right to pull from this repository too, or NULL */
	struct http_exchange x;	   /* url and authorization are filled in by the call */
};

/* One attempt. 0 for a status of 2xx; the errors of registry.h; -ERANGE for 416. */
int registry_call(struct registry_client *c, struct registry_call *call, struct err *e);

/* When the client is closed. */
void endpoints_free(struct registry_client *c);

/* A call that is tried again. Born zero. */
struct retry {
	int64_t since_ms; /* the last progress */
	unsigned step;
};

/* Decide about a failed attempt: 0 to try again, after a pause; else `r`, unchanged. */
int registry_retry(struct registry_client *c, struct retry *retry, int r, const struct http_answer *answer,
		   struct err *e);
void registry_progress(struct retry *retry);

/* registry.c: HEAD of a blob; `push` when the right to push is wanted in the same breath. */
int registry_head_blob(struct registry_client *c, const struct reference *where, const struct digest *blob,
		       bool push, uint64_t *size, struct err *e);

/* registry_auth.c: the value of Authorization for this call in *header (owned by the caller, secret; NULL
 * when nothing is asked for). 0 or -EACCES, -EAGAIN, … */
int registry_authorize(struct registry_client *c, struct endpoint *ep, const struct registry_call *call,
		       char **header, struct err *e);
/* The registry answered 401: remember how it wants to be asked, forget what it did not accept. */
void registry_challenged(struct registry_client *c, struct endpoint *ep, const struct registry_call *call,
			 const struct http_challenge *challenge);
void endpoint_forget_secrets(struct endpoint *ep);

#endif
