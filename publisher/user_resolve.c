/* SPDX-License-Identifier: Apache-2.0
 * config.User (image-spec, config.md): user, uid, user:group, uid:gid and mixtures, looked up in passwd(5)
 * and group(5) of the image. */
#include "proto/base/cleanup.h"
#include "publisher/public_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The content of a line's field, counted from 0. */
struct field {
	const char *at;
	size_t n;
};

static struct field line_field(struct field line, unsigned i)
{
	struct field f = {line.at, line.n};

	for (;; i--) {
		const char *colon = memchr(f.at, ':', f.n);

		if (i == 0)
			return (struct field){f.at, colon ? (size_t)(colon - f.at) : f.n};
		if (!colon)
			return (struct field){f.at, 0};
		f.n -= (size_t)(colon + 1 - f.at);
		f.at = colon + 1;
	}
}

static bool number_is_valid(const char *p, size_t n)
{
	uint64_t v = 0;

	if (n == 0 || n > 10)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	return v < UINT32_MAX;
}

enum key { BY_NAME = 0, BY_NUMBER = 2 }; /* fields of passwd(5) and group(5) */

/* The first line of `path` whose field `key` is `wanted`. */
static int find_line(struct field *out, struct tree *tree, const char *path, enum key key,
		     struct field wanted)
{
	const void *data;
	struct field rest;
	int r = tree_content(tree, path, &data, &rest.n);

	if (r < 0)
		return r;
	for (rest.at = data; rest.n > 0;) {
		const char *end = memchr(rest.at, '\n', rest.n);
		struct field line = {rest.at, end ? (size_t)(end - rest.at) : rest.n},
			     found = line_field(line, key);

		if (found.n == wanted.n && memcmp(found.at, wanted.at, found.n) == 0) {
			*out = line;
			return 0;
		}
		rest.at += line.n;
		rest.n -= line.n;
		if (rest.n > 0) {
			rest.at++;
			rest.n--;
		}
	}
	return -ENOENT;
}

/* `name` as a number: itself, or field 2 of its line. *line is set for a name. */
static int resolve(struct field *out, struct field *line, struct tree *tree, const char *path,
		   struct field name, struct err *e)
{
	int r;

	line->at = NULL;
	*out = name;
	if (number_is_valid(name.at, name.n))
		return 0;
	r = find_line(line, tree, path, BY_NAME, name);
	if (r == 0) {
		*out = line_field(*line, 2);
		if (number_is_valid(out->at, out->n))
			return 0;
		r = -ENOENT;
	}
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	return err_set(e, -EUCLEAN, "config.User names %.*s, which the image's /%s does not have",
		       (int)name.n, name.at, path);
}

/* The group of a user that is given as a number. *out stays as it is when passwd has none: it is 0 then, for
 * every runtime. */
static int find_group(struct field *out, struct tree *tree, struct field uid, struct err *e)
{
	struct field line, gid;
	int r = find_line(&line, tree, "etc/passwd", BY_NUMBER, uid);

	if (r < 0)
		return r == -ENOMEM ? err_set(e, r, "out of memory") : 0;
	gid = line_field(line, 3);
	if (number_is_valid(gid.at, gid.n))
		*out = gid;
	return 0;
}

int user_resolve(char **out, const char *user, struct tree *tree, struct err *e)
{
	const char *colon = strchr(user, ':');
	struct field name = {user, colon ? (size_t)(colon - user) : strlen(user)};
	struct field uid, gid = {NULL, 0}, line, ignored;
	int r;

	if (!user[0]) {
		*out = strdup("");
		return *out ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	r = resolve(&uid, &line, tree, "etc/passwd", name, e);
	if (r == 0 && colon)
		r = resolve(&gid, &ignored, tree, "etc/group", (struct field){colon + 1, strlen(colon + 1)},
			    e);
	else if (r == 0 && line.at)
		gid = line_field(line, 3);
	else if (r == 0)
		r = find_group(&gid, tree, uid, e);
	if (r < 0)
		return r;
	if (gid.at && !number_is_valid(gid.at, gid.n))
		return err_set(e, -EUCLEAN, "the image's /etc/passwd has no group for %.*s", (int)name.n,
			       name.at);
	if (gid.at)
		r = asprintf(out, "%.*s:%.*s", (int)uid.n, uid.at, (int)gid.n, gid.at);
	else
		r = asprintf(out, "%.*s", (int)uid.n, uid.at);
	return r < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}
