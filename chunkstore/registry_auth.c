/* SPDX-License-Identifier: Apache-2.0
 * Logging in: basic authentication, and bearer tokens as Docker's token server gives them (distribution:
 * docs/spec/auth/token.md, oauth.md). A token is kept with the scope that it was asked for until shortly
 * before it expires. */
#include "chunkstore/clock.h"
#include "chunkstore/docker_config.h"
#include "chunkstore/registry_call.h"
#include "chunkstore/secret_json.h"
#include "proto/base/base64.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define MAX_TOKENS 64 /* of one registry */
#define MAX_TOKEN (64u << 10)
#define MAX_TOKEN_ANSWER (2 * MAX_TOKEN)
#define DEFAULT_LIFE_S 60 /* what the specification says when the server does not */
#define MAX_LIFE_S 3600
#define CLIENT_ID "cocoon"

static void token_free(struct token *t)
{
	free(t->scope);
	secret_text_free(t->header);
	free(t);
}

void endpoint_forget_secrets(struct endpoint *ep)
{
	while (ep->tokens) {
		struct token *t = ep->tokens;

		ep->tokens = t->next;
		token_free(t);
	}
	secret_text_free(take_ptr(ep->basic));
}

static const char *scope_of(const struct registry_call *call, char scope[static REGISTRY_SCOPE_SIZE])
{
	int n = snprintf(scope, REGISTRY_SCOPE_SIZE, "repository:%s:%s", call->where->repository,
			 call->push ? "pull,push" : "pull");

	if (call->mount_from && n > 0 && n < REGISTRY_SCOPE_SIZE)
		(void)snprintf(scope + n, REGISTRY_SCOPE_SIZE - (size_t)n, " repository:%s:pull",
			       call->mount_from);
	return scope;
}

/* Under the lock: take the token of this scope out of the list. */
static struct token *token_remove(struct endpoint *ep, const char *scope)
{
	struct token **at = &ep->tokens, *t;

	while (*at && strcmp((*at)->scope, scope) != 0)
		at = &(*at)->next;
	t = *at;
	if (t)
		*at = t->next;
	return t;
}

/* Under the lock. */
static void token_add(struct endpoint *ep, struct token *t)
{
	struct token **at = &ep->tokens, *old = token_remove(ep, t->scope);

	if (old)
		token_free(old);
	t->next = ep->tokens;
	ep->tokens = t;
	for (unsigned n = 0; *at && n < MAX_TOKENS; n++)
		at = &(*at)->next;
	while (*at) {
		old = *at;
		*at = old->next;
		token_free(old);
	}
}

void registry_challenged(struct registry_client *c, struct endpoint *ep, const struct registry_call *call,
			 const struct http_challenge *challenge)
{
	char scope[REGISTRY_SCOPE_SIZE];
	struct token *t;

	(void)pthread_mutex_lock(&c->lock);
	ep->challenge = *challenge;
	t = token_remove(ep, scope_of(call, scope));
	secret_text_free(take_ptr(ep->basic));
	(void)pthread_mutex_unlock(&c->lock);
	if (t)
		token_free(t);
}

/* "Basic " and base64 of user:password, owned by the caller, secret. NULL: no memory. */
static char *basic_header(const struct docker_login *l)
{
	size_t n = strlen(l->user) + strlen(l->password) + 1;
	char *pair = malloc(n + 1), *header = NULL;
	size_t size = 6 + base64_size(BASE64_STANDARD, n) + 1;
	struct buf text;

	buf_init(&text, size);
	buf_zero(&text, size); /* room at once: growing would leave copies behind */
	if (pair && !buf_failed(&text)) {
		(void)snprintf(pair, n + 1, "%s:%s", l->user, l->password);
		text.size = 0;
		buf_put(&text, "Basic ", 6);
		base64_encode(&text, BASE64_STANDARD, pair, n);
		buf_u8(&text, '\0');
		header = (char *)text.data;
	} else {
		buf_deinit(&text);
	}
	if (pair)
		explicit_bzero(pair, n);
	free(pair);
	return header;
}

/* The answer of the token server, collected for the decoder. */
static int collect(void *arg, const void *p, size_t n)
{
	struct buf *to = arg;

	buf_put(to, p, n);
	return buf_failed(to) ? -E2BIG : 0;
}

static int decode_token(struct token *t, const struct buf *answer, struct err *e)
{
	cleanup_secret_json json_t *j = secret_json_load((char *)answer->data, answer->size, NULL);
	json_int_t life = json_integer_value(json_object_get(j, "expires_in"));
	char *text = NULL;
	size_t n;
	int r = secret_json_copy(&text, json_object_get(j, "token"), MAX_TOKEN);

	if (r == -ENOENT)
		r = secret_json_copy(&text, json_object_get(j, "access_token"), MAX_TOKEN);
	if (r < 0)
		return err_set(e, -EBADE, "token server: no token in its answer");
	for (const char *c = text; *c; c++)
		if (*c <= 0x20 || *c > 0x7e)
			r = -EBADE;
	n = strlen(text) + sizeof("Bearer ");
	t->header = r == 0 ? malloc(n) : NULL;
	if (t->header)
		(void)snprintf(t->header, n, "Bearer %s", text);
	secret_text_free(text);
	if (r < 0)
		return err_set(e, r, "token server: a token with foreign characters");
	if (!t->header)
		return err_set(e, -ENOMEM, "out of memory");
	if (life <= 0)
		life = DEFAULT_LIFE_S;
	if (life > MAX_LIFE_S)
		life = MAX_LIFE_S;
	t->expires_ms = now_ms() + life * 900; /* a tenth early */
	return 0;
}

/* The scope "a b" as two parameters. */
static int add_scopes(char url[static HTTP_MAX_URL], const char *scope)
{
	char one[REGISTRY_SCOPE_SIZE];
	int r = 0;

	while (*scope && r == 0) {
		size_t n = strcspn(scope, " ");

		memcpy(one, scope, n);
		one[n] = '\0';
		r = http_url_add(url, "scope", one);
		scope += n + (scope[n] == ' ');
	}
	return r;
}

static void form_add(struct buf *form, const char *name, const char *value)
{
	if (form->size > 0)
		buf_u8(form, '&');
	buf_put(form, name, strlen(name));
	buf_u8(form, '=');
	for (; *value; value++) {
		char escape[4];

		(void)snprintf(escape, sizeof(escape), "%%%02X", (unsigned char)*value);
		buf_put(form, escape, 3);
	}
}

/* What an identity token is exchanged with. Secret: the caller wipes. */
static int refresh_form(struct buf *form, const char *service, const char *scope, const char *refresh)
{
	size_t size = 3 * (strlen(service) + strlen(scope) + strlen(refresh)) + 128;

	buf_init(form, size);
	buf_zero(form, size); /* room at once: growing would leave copies behind */
	if (buf_failed(form))
		return -ENOMEM;
	form->size = 0;
	form_add(form, "grant_type", "refresh_token");
	form_add(form, "client_id", CLIENT_ID);
	form_add(form, "service", service);
	form_add(form, "scope", scope);
	form_add(form, "refresh_token", refresh);
	return buf_failed(form) ? -ENOMEM : 0;
}

static int read_form(void *arg, void *to, size_t n, uint64_t offset)
{
	const struct buf *form = arg;

	memcpy(to, form->data + offset, n);
	return 0;
}

static void wipe_buf(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->room);
	buf_deinit(b);
}

/* Ask the token server once. */
static int ask_token(struct registry_client *c, const struct endpoint *ep,
		     const struct http_challenge *challenge, const char *scope,
		     const struct docker_login *login, struct buf *answer, struct err *e)
{
	char url[HTTP_MAX_URL];
	struct buf form = {0};
	struct registry_body body = {.read = read_form, .arg = &form};
	struct http_exchange x = {
		.method = "GET", .url = url, .sink = collect, .arg = answer, .direct = ep->loopback};
	char *header = NULL;
	int r = 0;

	(void)snprintf(url, sizeof(url), "%s", challenge->realm);
	if (login->identity_token) {
		r = refresh_form(&form, challenge->service, scope, login->identity_token);
		body.size = form.size;
		x.method = "POST";
		x.content_type = "application/x-www-form-urlencoded";
		x.body = &body;
		x.body_size = body.size;
	} else {
		if (challenge->service[0])
			r = http_url_add(url, "service", challenge->service);
		if (r == 0)
			r = add_scopes(url, scope);
		if (r == 0 && login->user) {
			header = basic_header(login);
			r = header ? 0 : -ENOMEM;
		}
	}
	x.authorization = header;
	if (r == 0)
		r = http_exchange(c->pool, &x, e);
	else
		(void)err_set(e, r, "the question to the token server is too long");
	secret_text_free(header);
	wipe_buf(&form);
	if (r < 0)
		return err_prefix(e, r, "token server of %s", ep->registry);
	if (x.answer.status / 100 == 2)
		return 0;
	r = x.answer.status == 429 || x.answer.status >= 500 ? -EAGAIN : -EACCES;
	return err_set(e, r, "%s: its token server answers %ld %s", ep->registry, x.answer.status,
		       x.answer.words);
}

static int fetch_token(struct registry_client *c, const struct endpoint *ep,
		       const struct http_challenge *challenge, const char *scope, struct token **out,
		       struct err *e)
{
	struct docker_login login = {0};
	struct token *t = calloc(1, sizeof(*t));
	struct buf answer;
	int r;

	buf_init(&answer, MAX_TOKEN_ANSWER);
	buf_zero(&answer, MAX_TOKEN_ANSWER); /* room at once: growing would leave copies behind */
	if (t)
		t->scope = strdup(scope);
	if (!t || !t->scope || buf_failed(&answer)) {
		r = err_set(e, -ENOMEM, "out of memory");
	} else {
		answer.size = 0;
		r = docker_login_find(&login, c->docker_config, ep->registry, e);
		if (r >= 0)
			r = ask_token(c, ep, challenge, scope, &login, &answer, e);
		if (r == 0)
			r = decode_token(t, &answer, e);
	}
	docker_login_deinit(&login);
	wipe_buf(&answer);
	if (r < 0 && t)
		token_free(t);
	if (r == 0)
		*out = t;
	return r;
}

static int bearer(struct registry_client *c, struct endpoint *ep, const struct http_challenge *challenge,
		  bool plain, const char *scope, char **header, struct err *e)
{
	struct token *t = NULL;
	char *copy = NULL;
	int r;

	(void)pthread_mutex_lock(&c->lock);
	for (t = ep->tokens; t && !copy; t = t->next)
		if (strcmp(t->scope, scope) == 0 && t->expires_ms > now_ms())
			copy = strdup(t->header);
	(void)pthread_mutex_unlock(&c->lock);
	if (!copy) {
		if (!plain && strncmp(challenge->realm, "https://", 8) != 0)
			return err_set(e, -EACCES, "%s: its token server is not behind TLS", ep->registry);
		r = fetch_token(c, ep, challenge, scope, &t, e);
		if (r < 0)
			return r;
		copy = strdup(t->header);
		(void)pthread_mutex_lock(&c->lock);
		token_add(ep, t);
		(void)pthread_mutex_unlock(&c->lock);
	}
	*header = copy;
	return copy ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int basic(struct registry_client *c, struct endpoint *ep, char **header, struct err *e)
{
	struct docker_login login = {0};
	char *copy = NULL;
	int r;

	(void)pthread_mutex_lock(&c->lock);
	if (ep->basic)
		copy = strdup(ep->basic);
	(void)pthread_mutex_unlock(&c->lock);
	if (!copy) {
		r = docker_login_find(&login, c->docker_config, ep->registry, e);
		if (r < 0)
			return r;
		if (r == DOCKER_NO_LOGIN || !login.user || !login.password) {
			docker_login_deinit(&login);
			return err_set(e, -EACCES, "%s: asks for a login, and docker's config.json has none",
				       ep->registry);
		}
		copy = basic_header(&login);
		docker_login_deinit(&login);
		(void)pthread_mutex_lock(&c->lock);
		secret_text_free(ep->basic);
		ep->basic = copy ? strdup(copy) : NULL;
		(void)pthread_mutex_unlock(&c->lock);
	}
	*header = copy;
	return copy ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int registry_authorize(struct registry_client *c, struct endpoint *ep, const struct registry_call *call,
		       char **header, struct err *e)
{
	struct http_challenge challenge;
	char scope[REGISTRY_SCOPE_SIZE];
	bool plain;

	(void)pthread_mutex_lock(&c->lock);
	challenge = ep->challenge;
	plain = ep->plain;
	(void)pthread_mutex_unlock(&c->lock);
	switch (challenge.scheme) {
	case HTTP_AUTH_BASIC:
		return basic(c, ep, header, e);
	case HTTP_AUTH_BEARER:
		return bearer(c, ep, &challenge, plain, scope_of(call, scope), header, e);
	case HTTP_AUTH_NONE:
		break;
	}
	*header = NULL;
	return 0;
}
