/* SPDX-License-Identifier: Apache-2.0
 * Image names taken apart and put together. The grammar is distribution-spec's, the defaults (docker.io,
 * library/, latest) are those of container tools. */
#include "proto/oci/reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* Path components of lower-case letters and digits, joined by single '.', '_' or runs of '-' or "__". */
static bool repository_is_valid(const char *s)
{
	bool start = true; /* of a component */

	for (; *s; s++) {
		if (is_lower_alnum(*s)) {
			start = false;
		} else if (start || !strchr("./_-", *s)) {
			return false;
		} else {
			start = *s == '/';
			if (*s != '/' && (s[1] == '\0' || s[1] == '/'))
				return false;
			if (*s == '.' && s[1] == '.')
				return false;
		}
	}
	return !start;
}

static bool tag_is_valid(const char *s)
{
	if (!is_alnum(*s) && *s != '_')
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && !strchr("_.-", *s))
			return false;
	return true;
}

/* host[:port] or [v6]:port: what may stand in a URL's authority without a user. */
static bool registry_is_valid(const char *s)
{
	if (!*s || *s == '-' || *s == '.')
		return false;
	for (; *s; s++)
		if (!is_alnum(*s) && !strchr(".-:[]", *s))
			return false;
	return true;
}

/* Copy n bytes into `to` of `room` bytes. */
static int put(char *to, size_t room, const char *from, size_t n, const char *what, struct err *e)
{
	if (n == 0)
		return err_set(e, -EINVAL, "empty %s", what);
	if (n >= room)
		return err_set(e, -EINVAL, "%s of %zu characters, at most %zu", what, n, room - 1);
	memcpy(to, from, n);
	to[n] = '\0';
	return 0;
}

static int parse_layout(struct reference *r, const char *text, struct err *e)
{
	const char *colon = strrchr(text, ':');
	const char *slash = strrchr(text, '/');
	int x;

	r->layout = true;
	/* a colon in a directory's name belongs to the directory */
	if (colon && slash && colon < slash)
		colon = NULL;
	x = put(r->path, sizeof(r->path), text, colon ? (size_t)(colon - text) : strlen(text),
		"layout directory", e);
	if (x == 0 && colon)
		x = put(r->tag, sizeof(r->tag), colon + 1, strlen(colon + 1), "tag", e);
	if (x == 0 && colon && !tag_is_valid(r->tag))
		return err_set(e, -EINVAL, "%s: not a tag", r->tag);
	return x;
}

/* The part in front of the first '/' is a registry when it looks like a host. */
static size_t registry_length(const char *name, size_t n)
{
	const char *slash = memchr(name, '/', n);
	size_t host = slash ? (size_t)(slash - name) : 0;

	if (host == 0)
		return 0;
	if (memchr(name, '.', host) || memchr(name, ':', host) ||
	    (host == 9 && memcmp(name, "localhost", 9) == 0))
		return host;
	return 0;
}

static int parse_name(struct reference *r, const char *name, size_t n, struct err *e)
{
	size_t host = registry_length(name, n);
	char full[sizeof(r->repository)];
	int x;

	x = host ? put(r->registry, sizeof(r->registry), name, host, "registry", e)
		 : put(r->registry, sizeof(r->registry), "docker.io", 9, "registry", e);
	if (x < 0)
		return x;
	if (host) {
		name += host + 1;
		n -= host + 1;
	}
	x = put(r->repository, sizeof(r->repository), name, n, "repository", e);
	if (x < 0)
		return x;
	if (strcmp(r->registry, "docker.io") == 0 && !strchr(r->repository, '/')) {
		x = snprintf(full, sizeof(full), "library/%s", r->repository);
		if (x < 0 || (size_t)x >= sizeof(full))
			return err_set(e, -EINVAL, "repository name too long");
		memcpy(r->repository, full, (size_t)x + 1);
	}
	if (!registry_is_valid(r->registry))
		return err_set(e, -EINVAL, "%s: not a registry's name", r->registry);
	if (!repository_is_valid(r->repository))
		return err_set(e, -EINVAL,
			       "%s: not a repository's name (lower-case letters, digits, . _ - /)",
			       r->repository);
	return 0;
}

int reference_parse(struct reference *out, const char *text, struct err *e)
{
	struct reference r = {0};
	const char *at, *colon;
	size_t n = strlen(text);
	int x;

	if (n == 0 || n >= REFERENCE_TEXT_SIZE)
		return err_set(e, -EINVAL, "image name of %zu characters", n);
	if (strncmp(text, "oci:", 4) == 0) {
		x = parse_layout(&r, text + 4, e);
		if (x == 0)
			*out = r;
		return x;
	}
	at = strchr(text, '@');
	if (at) {
		if (digest_parse(&r.digest, at + 1) < 0)
			return err_set(e, -EINVAL, "%s: not a digest (sha256: and 64 hex digits)", at + 1);
		r.has_digest = true;
		n = (size_t)(at - text);
	}
	colon = memrchr(text, ':', n);
	/* host:port has its slash behind the colon */
	if (colon && !memchr(colon, '/', n - (size_t)(colon - text))) {
		x = put(r.tag, sizeof(r.tag), colon + 1, n - (size_t)(colon + 1 - text), "tag", e);
		if (x < 0)
			return x;
		if (!tag_is_valid(r.tag))
			return err_set(e, -EINVAL, "%s: not a tag", r.tag);
		n = (size_t)(colon - text);
	} else if (!at) {
		memcpy(r.tag, "latest", 7);
	}
	x = parse_name(&r, text, n, e);
	if (x < 0)
		return err_prefix(e, x, "%s", text);
	*out = r;
	return 0;
}

const char *reference_text(const struct reference *r, char text[static REFERENCE_TEXT_SIZE])
{
	char digest[DIGEST_TEXT_SIZE] = "";

	if (r->has_digest)
		(void)digest_text(&r->digest, digest);
	/* the fields came through reference_parse(), so that their sum fits */
	if (r->layout)
		(void)snprintf(text, REFERENCE_TEXT_SIZE, "oci:%s%s%s", r->path, *r->tag ? ":" : "", r->tag);
	else
		(void)snprintf(text, REFERENCE_TEXT_SIZE, "%s/%s%s%s%s%s", r->registry, r->repository,
			       *r->tag ? ":" : "", r->tag, r->has_digest ? "@" : "", digest);
	return text;
}
