/* SPDX-License-Identifier: Apache-2.0
 * The life of a call: take the endpoint, then ask until there is an answer that is neither "speak without
 * TLS" nor "log in first" nor "look there". Each of these can happen only a few times. */
#include "chunkstore/registry_call.h"
#include "chunkstore/clock.h"
#include "chunkstore/secret_json.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_ENDPOINTS 128
#define MAX_REDIRECTS 5
#define MAX_LOGINS 2 /* a token may have expired; a fresh one that is refused is a refusal */
#define PLACE_LIFE_MS (5 * 60 * 1000)
#define FIRST_PAUSE_MS 100
#define LAST_PAUSE_MS 5000

static bool is_loopback(const char *host)
{
	char name[256];
	size_t n;

	if (strncmp(host, "[::1]", 5) == 0)
		return true;
	n = strcspn(host, ":");
	memcpy(name, host, n);
	name[n] = '\0';
	return strncmp(name, "127.", 4) == 0 || strcmp(name, "localhost") == 0;
}

static bool is_listed_plain(const struct registry_client *c, const char *registry)
{
	for (size_t i = 0; i < c->n_plain_http; i++)
		if (strcmp(c->plain_http[i], registry) == 0)
			return true;
	return false;
}

static void endpoint_free(struct endpoint *ep)
{
	endpoint_forget_secrets(ep);
	for (unsigned i = 0; i < ENDPOINT_PLACES; i++)
		free(ep->places[i].url);
	free(ep);
}

void endpoints_free(struct registry_client *c)
{
	while (c->endpoints) {
		struct endpoint *ep = c->endpoints;

		c->endpoints = ep->next;
		endpoint_free(ep);
	}
}

/* Under the lock: drop the one that was used least recently and is not in use. */
static void drop_an_endpoint(struct registry_client *c)
{
	struct endpoint **oldest = NULL, *ep;

	for (struct endpoint **at = &c->endpoints; *at; at = &(*at)->next)
		if ((*at)->refs == 0 && (!oldest || (*at)->used_ms < (*oldest)->used_ms))
			oldest = at;
	if (!oldest)
		return;
	ep = *oldest;
	*oldest = ep->next;
	c->n_endpoints--;
	endpoint_free(ep);
}

static struct endpoint *endpoint_take(struct registry_client *c, const char *registry)
{
	struct endpoint *ep;

	(void)pthread_mutex_lock(&c->lock);
	for (ep = c->endpoints; ep && strcmp(ep->registry, registry) != 0; ep = ep->next)
		;
	if (!ep) {
		if (c->n_endpoints >= MAX_ENDPOINTS)
			drop_an_endpoint(c);
		ep = calloc(1, sizeof(*ep));
		if (ep) {
			(void)snprintf(ep->registry, sizeof(ep->registry), "%s", registry);
			(void)snprintf(ep->host, sizeof(ep->host), "%s",
				       strcmp(registry, "docker.io") == 0 ? "registry-1.docker.io"
									  : registry);
			ep->loopback = is_loopback(registry);
			ep->plain = is_listed_plain(c, registry);
			ep->settled = ep->plain || !ep->loopback;
			ep->next = c->endpoints;
			c->endpoints = ep;
			c->n_endpoints++;
		}
	}
	if (ep) {
		ep->refs++;
		ep->used_ms = now_ms();
	}
	(void)pthread_mutex_unlock(&c->lock);
	return ep;
}

static void endpoint_give_back(struct registry_client *c, struct endpoint *ep)
{
	(void)pthread_mutex_lock(&c->lock);
	ep->refs--;
	(void)pthread_mutex_unlock(&c->lock);
}

/* Where the blob was found last; false: ask the registry. */
static bool place_known(struct registry_client *c, struct endpoint *ep, const struct digest *blob,
			char url[static HTTP_MAX_URL])
{
	bool known = false;

	(void)pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < ENDPOINT_PLACES && !known; i++) {
		const struct blob_place *p = &ep->places[i];

		if (p->url && p->expires_ms > now_ms() && digest_equal(&p->blob, blob)) {
			(void)snprintf(url, HTTP_MAX_URL, "%s", p->url);
			known = true;
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
	return known;
}

/* NULL forgets. */
static void place_learn(struct registry_client *c, struct endpoint *ep, const struct digest *blob,
			const char *url)
{
	struct blob_place *p = NULL;
	char *copy = url ? strdup(url) : NULL;

	(void)pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < ENDPOINT_PLACES && !p; i++)
		if (ep->places[i].url && digest_equal(&ep->places[i].blob, blob))
			p = &ep->places[i];
	if (!p && copy)
		p = &ep->places[ep->next_place++ % ENDPOINT_PLACES];
	if (p) {
		free(p->url);
		*p = (struct blob_place){*blob, now_ms() + PLACE_LIFE_MS, take_ptr(copy)};
	}
	(void)pthread_mutex_unlock(&c->lock);
	free(copy);
}

static bool speaks_plain(struct registry_client *c, struct endpoint *ep)
{
	bool plain;

	(void)pthread_mutex_lock(&c->lock);
	plain = ep->plain;
	(void)pthread_mutex_unlock(&c->lock);
	return plain;
}

/* Learn from an exchange whether a loopback registry speaks TLS. True: try again the other way. Calls that
 * run side by side learn the same thing twice: what counts is how this exchange was made, not what the
 * endpoint says by now. */
static bool settle_scheme(struct registry_client *c, struct endpoint *ep, const struct http_exchange *x)
{
	bool was_plain = strncmp(x->url, "http:", 5) == 0, again = false;

	(void)pthread_mutex_lock(&c->lock);
	if (!was_plain && x->tls_refused) {
		if (!ep->settled)
			ep->plain = true;
		again = ep->plain;
	} else if (!ep->settled) {
		if (x->answer.status != 0 && x->answer.status != 400) {
			ep->plain = was_plain;
			ep->settled = true;
		} else {
			ep->plain = false;
		}
	}
	(void)pthread_mutex_unlock(&c->lock);
	return again;
}

static const char *short_text(const struct registry_call *call)
{
	return call->path[0] ? call->path : "upload";
}

/* What a status means to the caller. The URL is not told: it may hold a signature. */
static int judge(const struct registry_call *call, const struct endpoint *ep, struct err *e)
{
	const struct http_answer *a = &call->x.answer;
	const char *what = short_text(call), *colon = a->words[0] ? ": " : "";
	int code;

	if (a->status == 202 && strncmp(call->x.url, "https:", 6) == 0 &&
	    strncmp(a->location, "http:", 5) == 0)
		return err_set(e, -EBADE,
			       "%s: wants the upload without TLS (a proxy in front of it may hide its own)",
			       ep->registry);
	if (a->status / 100 == 2)
		return 0;
	switch (a->status) {
	case 401:
	case 403:
		code = -EACCES;
		break;
	case 404:
	case 410:
		code = -ENOENT;
		break;
	case 416:
		code = -ERANGE;
		break;
	case 408:
	case 429:
		code = -EAGAIN;
		break;
	default:
		code = a->status >= 500 ? -EAGAIN : -EBADE;
	}
	return err_set(e, code, "%s: %s %s: status %ld%s%s", ep->registry, call->x.method, what, a->status,
		       colon, a->words);
}

struct attempt {
	char url[HTTP_MAX_URL];
	char home[HTTP_ORIGIN_SIZE]; /* the only origin that sees credentials */
	bool remembered;	     /* url comes from place_known() */
	unsigned redirects, logins;
};

static int attempt_begin(struct registry_client *c, struct endpoint *ep, struct registry_call *call,
			 struct attempt *a, struct err *e)
{
	const char *scheme = speaks_plain(c, ep) ? "http" : "https";
	int n;

	n = snprintf(a->url, sizeof(a->url), "%s://%s/", scheme, ep->host);
	if (n < 0 || (size_t)n >= sizeof(a->url) || http_url_origin(a->url, a->home) < 0)
		return err_set(e, -EINVAL, "%s: not a registry's name", ep->registry);
	if (call->url[0]) {
		memcpy(a->url, call->url, sizeof(a->url));
		return 0;
	}
	if (call->blob && a->redirects == 0 && place_known(c, ep, call->blob, a->url)) {
		a->remembered = true;
		return 0;
	}
	n = snprintf(a->url, sizeof(a->url), "%s://%s%s", scheme, ep->host, call->path);
	if (n < 0 || (size_t)n >= sizeof(a->url))
		return err_set(e, -EINVAL, "%s: URL too long", ep->registry);
	return 0;
}

/* 0 when the answer says "look there" and that is allowed. */
static int redirect(struct registry_client *c, struct endpoint *ep, struct registry_call *call,
		    struct attempt *a, struct err *e)
{
	const struct http_answer *answer = &call->x.answer;
	bool reads = strcmp(call->x.method, "GET") == 0 || strcmp(call->x.method, "HEAD") == 0;

	if (!reads || !answer->location[0] || ++a->redirects > MAX_REDIRECTS)
		return err_set(e, -EBADE, "%s: %s %s: redirect (%ld) that is not followed", ep->registry,
			       call->x.method, short_text(call), answer->status);
	if (strncmp(a->url, "https:", 6) == 0 && strncmp(answer->location, "https:", 6) != 0)
		return err_set(e, -EBADE, "%s: %s: redirect from TLS to plain HTTP", ep->registry,
			       short_text(call));
	memcpy(a->url, answer->location, sizeof(a->url));
	if (call->blob)
		place_learn(c, ep, call->blob, a->url);
	return 0;
}

/* Ask once. */
static int ask(struct registry_client *c, struct endpoint *ep, struct registry_call *call, struct attempt *a,
	       struct err *e)
{
	char origin[HTTP_ORIGIN_SIZE], *header = NULL;
	int r;

	if (http_url_origin(a->url, origin) < 0)
		return err_set(e, -EBADE, "%s: a URL that we do not follow", ep->registry);
	if (strcmp(origin, a->home) == 0) {
		r = registry_authorize(c, ep, call, &header, e);
		if (r < 0)
			return r;
	}
	call->x.url = a->url;
	call->x.authorization = header;
	call->x.direct = ep->loopback;
	r = http_exchange(c->pool, &call->x, e);
	call->x.authorization = NULL;
	secret_text_free(header);
	return r;
}

/* What to do with an exchange that ended: 1 to ask again. */
static int next_step(struct registry_client *c, struct endpoint *ep, struct registry_call *call,
		     struct attempt *a, int r, struct err *e)
{
	long status = call->x.answer.status;
	bool home = a->redirects == 0 && !a->remembered;

	if (home && settle_scheme(c, ep, &call->x) && r < 0) {
		r = attempt_begin(c, ep, call, a, e);
		return r < 0 ? r : 1;
	}
	if (a->remembered && (r < 0 || status >= 400)) /* it may have moved, or its signature expired */
		place_learn(c, ep, call->blob, NULL);
	if (a->remembered && r == 0 && status >= 400) { /* the sink has seen nothing of this answer */
		a->remembered = false;
		r = attempt_begin(c, ep, call, a, e);
		return r < 0 ? r : 1;
	}
	if (r < 0)
		return r;
	if (status == 401 && home && call->x.answer.challenge.scheme && a->logins++ < MAX_LOGINS) {
		registry_challenged(c, ep, call, &call->x.answer.challenge);
		return 1;
	}
	if (status == 301 || status == 302 || status == 303 || status == 307 || status == 308) {
		r = redirect(c, ep, call, a, e);
		return r < 0 ? r : 1;
	}
	return judge(call, ep, e);
}

int registry_call(struct registry_client *c, struct registry_call *call, struct err *e)
{
	struct endpoint *ep = endpoint_take(c, call->where->registry);
	struct attempt a = {.redirects = 0};
	int r;

	if (!ep)
		return err_set(e, -ENOMEM, "out of memory");
	r = attempt_begin(c, ep, call, &a, e);
	if (r == 0) {
		do {
			r = ask(c, ep, call, &a, e);
			r = next_step(c, ep, call, &a, r, e);
		} while (r == 1);
	}
	call->x.url = NULL; /* was ours */
	endpoint_give_back(c, ep);
	return r;
}

void registry_progress(struct retry *retry)
{
	*retry = (struct retry){.since_ms = now_ms()};
}

int registry_retry(struct registry_client *c, struct retry *retry, int r, const struct http_answer *answer,
		   struct err *e)
{
	int64_t now = now_ms(), pause, end;
	struct timespec until;
	bool stopped;

	if (r != -EAGAIN)
		return r;
	if (retry->since_ms == 0)
		retry->since_ms = now;
	pause = (int64_t)FIRST_PAUSE_MS << (retry->step < 6 ? retry->step : 6);
	pause += now % (pause / 2 + 1); /* so that many who failed together do not come back together */
	if (pause > LAST_PAUSE_MS)
		pause = LAST_PAUSE_MS;
	if (answer->retry_after_s > 0)
		pause = answer->retry_after_s < 3600 ? (int64_t)answer->retry_after_s * 1000 : 3600000;
	end = now + pause;
	if (end > retry->since_ms + c->patience_ms)
		return r;
	retry->step++;
	until = timespec_of_ms(end);
	(void)pthread_mutex_lock(&c->lock);
	while (!(stopped = http_pool_stopped(c->pool)) && now_ms() < end)
		(void)pthread_cond_timedwait(&c->stop, &c->lock, &until);
	(void)pthread_mutex_unlock(&c->lock);
	return stopped ? err_set(e, -ECANCELED, "stopped") : 0;
}
