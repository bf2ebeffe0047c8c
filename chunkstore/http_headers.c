/* SPDX-License-Identifier: Apache-2.0
 * A small cursor over text: each step takes what the grammar allows or fails, and nothing is believed beyond
 * the end. */
#include "chunkstore/http_headers.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

struct text {
	const char *at, *end;
};

static char peek(const struct text *t)
{
	return t->at < t->end ? *t->at : '\0';
}

static void skip_space(struct text *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->at++;
}

static bool take(struct text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool take_word(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(t->end - t->at) < n || strncasecmp(t->at, word, n) != 0)
		return false;
	t->at += n;
	return true;
}

static bool is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* A token; its length, 0 when there is none. */
static size_t take_token(struct text *t, const char **start)
{
	*start = t->at;
	while (is_token_char(peek(t)))
		t->at++;
	return (size_t)(t->at - *start);
}

static bool take_number(struct text *t, uint64_t *out)
{
	uint64_t v = 0;
	const char *start = t->at;

	while (peek(t) >= '0' && peek(t) <= '9')
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*t->at++ - '0'), &v))
			return false;
	*out = v;
	return t->at > start;
}

/* A token or a quoted string, unescaped, into `to`. */
static int take_value(struct text *t, char *to, size_t room)
{
	size_t n = 0;

	if (!take(t, '"')) {
		const char *start;

		n = take_token(t, &start);
		if (n == 0 || n >= room)
			return -EINVAL;
		memcpy(to, start, n);
		to[n] = '\0';
		return 0;
	}
	while (!take(t, '"')) {
		(void)take(t, '\\');
		if (peek(t) < 0x20 || peek(t) > 0x7e || n + 1 >= room)
			return -EINVAL;
		to[n++] = *t->at++;
	}
	to[n] = '\0';
	return 0;
}

/* Parameters of one challenge, up to the next challenge or the end. */
static int take_parameters(struct text *t, struct http_challenge *c)
{
	char ignored[1024];

	for (;;) {
		struct text before = *t;
		const char *name;
		size_t n;
		int r;

		skip_space(t);
		n = take_token(t, &name);
		skip_space(t);
		if (n == 0 || !take(t, '=')) {
			*t = before; /* a token without '=' is the next challenge */
			return 0;
		}
		skip_space(t);
		if (n == 5 && strncasecmp(name, "realm", n) == 0)
			r = take_value(t, c->realm, sizeof(c->realm));
		else if (n == 7 && strncasecmp(name, "service", n) == 0)
			r = take_value(t, c->service, sizeof(c->service));
		else
			r = take_value(t, ignored, sizeof(ignored));
		if (r < 0)
			return r;
		skip_space(t);
		if (!take(t, ','))
			return 0;
	}
}

int http_challenge_decode(struct http_challenge *out, const char *text, size_t n)
{
	struct text t = {text, text + n};
	struct http_challenge best = {0};

	for (skip_space(&t); t.at < t.end; skip_space(&t)) {
		struct http_challenge c = {0};
		const char *scheme;
		size_t size;

		if (take(&t, ','))
			continue;
		size = take_token(&t, &scheme);
		if (size == 0 || (t.at < t.end && peek(&t) != ' ' && peek(&t) != ','))
			return -EINVAL;
		if (take_parameters(&t, &c) < 0)
			return -EINVAL;
		if (size == 6 && strncasecmp(scheme, "bearer", size) == 0 && c.realm[0])
			c.scheme = HTTP_AUTH_BEARER;
		else if (size == 5 && strncasecmp(scheme, "basic", size) == 0)
			c.scheme = HTTP_AUTH_BASIC;
		if (c.scheme > best.scheme)
			best = c;
	}
	if (best.scheme == HTTP_AUTH_NONE)
		return -ENOTSUP;
	*out = best;
	return 0;
}

int http_content_range_decode(struct http_range *out, const char *text, size_t n)
{
	struct text t = {text, text + n};
	struct http_range r = {0};

	skip_space(&t);
	if (!take_word(&t, "bytes") || !take(&t, ' '))
		return -EINVAL;
	skip_space(&t);
	if (!take_number(&t, &r.first) || !take(&t, '-') || !take_number(&t, &r.last) || !take(&t, '/'))
		return -EINVAL;
	if (!take(&t, '*')) {
		if (!take_number(&t, &r.total))
			return -EINVAL;
		r.has_total = true;
	}
	skip_space(&t);
	if (t.at != t.end || r.first > r.last || (r.has_total && r.last >= r.total))
		return -EINVAL;
	*out = r;
	return 0;
}

int http_upload_range_decode(uint64_t *received, const char *text, size_t n)
{
	struct text t = {text, text + n};
	uint64_t first, last;

	skip_space(&t);
	(void)take_word(&t, "bytes=");
	if (!take_number(&t, &first) || !take(&t, '-') || !take_number(&t, &last))
		return -EINVAL;
	skip_space(&t);
	if (t.at != t.end || first != 0 || last == UINT64_MAX)
		return -EINVAL;
	*received = last ? last + 1 : 0;
	return 0;
}

int http_number_decode(uint64_t *out, const char *text, size_t n)
{
	struct text t = {text, text + n};
	uint64_t v;

	skip_space(&t);
	if (!take_number(&t, &v))
		return -EINVAL;
	skip_space(&t);
	if (t.at != t.end)
		return -EINVAL;
	*out = v;
	return 0;
}
