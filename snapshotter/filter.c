/* SPDX-License-Identifier: Apache-2.0
 * A filter is parsed into a flat array of selectors, each knowing which filter it belongs to; showing is one
 * pass. The parser is one cursor over the text. */
#include "snapshotter/filter.h"

#include "proto/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILTERS 256u
#define MAX_SELECTORS 1024u
#define MAX_TEXT 8192u /* of one filter: a label is at most LABEL_MAX_SIZE */
#define MAX_REPETITIONS 8

enum operator{ PRESENT, EQUAL, NOT_EQUAL, MATCHES };

struct selector {
	size_t filter; /* which of the filters it belongs to */
	enum operator op;
	char *path, *value; /* owned */
	regex_t regex;	    /* MATCHES only */
};

struct filter {
	size_t n_filters, n_selectors;
	struct selector *selectors;
};

struct cursor {
	const char *start, *at;
};

static int bad(const struct cursor *c, struct err *e, const char *what)
{
	return err_set(e, -EINVAL, "filter \"%.128s\", at %zu: %s", c->start, (size_t)(c->at - c->start),
		       what);
}

/* A "quoted string", with the escapes that a label can need. Appends to `to`, which has room for MAX_TEXT. */
static int take_quoted(struct cursor *c, char *to, size_t *n, struct err *e)
{
	c->at++;
	while (*c->at != '"') {
		char ch = *c->at;

		if (ch == '\\') {
			c->at++;
			ch = *c->at;
			if (ch == 'n')
				ch = '\n';
			else if (ch == 't')
				ch = '\t';
			else if (ch != '"' && ch != '\\')
				return bad(c, e, "unknown escape");
		} else if (!ch) {
			return bad(c, e, "the string does not end");
		}
		to[(*n)++] = ch;
		c->at++;
	}
	c->at++;
	return 0;
}

/* field ('.' field)*: the parts of a label's key are joined with dots again, as containerd does. */
static int take_path(struct cursor *c, char *to, struct err *e)
{
	size_t n = 0;

	for (;;) {
		size_t before = n;
		int r;

		if (*c->at == '"') {
			r = take_quoted(c, to, &n, e);
			if (r < 0)
				return r;
		} else {
			while (isalnum((unsigned char)*c->at) || *c->at == '_' || *c->at == '-' ||
			       *c->at == '/')
				to[n++] = *c->at++;
			if (n == before)
				return bad(c, e, "a field is expected");
		}
		if (*c->at != '.')
			break;
		to[n++] = *c->at++;
	}
	to[n] = '\0';
	return 0;
}

static int take_value(struct cursor *c, char *to, struct err *e)
{
	size_t n = 0;

	if (*c->at == '"') {
		int r = take_quoted(c, to, &n, e);

		if (r < 0)
			return r;
	} else {
		while (*c->at && *c->at != ',' && !isspace((unsigned char)*c->at))
			to[n++] = *c->at++;
		if (n == 0)
			return bad(c, e, "a value is expected");
	}
	to[n] = '\0';
	return 0;
}

static enum operator take_operator(struct cursor *c)
{
	static const struct {
		char text[3];
		enum operator op;
	} operators[] = {{"==", EQUAL}, {"!=", NOT_EQUAL}, {"~=", MATCHES}};

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (strncmp(c->at, operators[i].text, 2) == 0) {
			c->at += 2;
			return operators[i].op;
		}
	}
	return PRESENT;
}

/* glibc's compiler copies what a repetition repeats, so that a few dozen of them, or one counted one in
 * another, take all memory (seen with 65 plus signs: 1.7 GB). Patterns that people write have two or three.
 */
static bool regex_is_bounded(const char *pattern)
{
	size_t repetitions = 0;

	for (const char *p = pattern; *p; p++)
		repetitions += strchr("*+?", *p) != NULL;
	return repetitions <= MAX_REPETITIONS && !strchr(pattern, '{');
}

static int take_selector(struct cursor *c, struct selector *s, struct err *e)
{
	char text[MAX_TEXT + 1];
	int r = take_path(c, text, e);

	if (r < 0)
		return r;
	s->path = strdup(text);
	if (!s->path)
		return -ENOMEM;
	s->op = take_operator(c);
	if (s->op == PRESENT)
		return 0;
	r = take_value(c, text, e);
	if (r < 0)
		return r;
	if (s->op == MATCHES && !regex_is_bounded(text)) {
		s->op = PRESENT; /* there is no regex to free */
		return bad(c, e, "a regular expression with {} or many repetitions");
	}
	if (s->op == MATCHES && regcomp(&s->regex, text, REG_EXTENDED | REG_NOSUB) != 0) {
		s->op = PRESENT; /* there is no regex to free */
		return bad(c, e, "not a regular expression");
	}
	s->value = strdup(text);
	return s->value ? 0 : -ENOMEM;
}

static int take_filter(struct filter *f, const char *text, struct err *e)
{
	struct cursor c = {text, text};

	if (strlen(text) > MAX_TEXT)
		return err_set(e, -EINVAL, "a filter of over %u bytes", MAX_TEXT);
	for (;;) {
		struct selector *grown;
		int r;

		if (f->n_selectors == MAX_SELECTORS)
			return err_set(e, -EINVAL, "over %u selectors", MAX_SELECTORS);
		grown = reallocarray(f->selectors, f->n_selectors + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		f->selectors = grown;
		grown[f->n_selectors] = (struct selector){.filter = f->n_filters};
		r = take_selector(&c, &grown[f->n_selectors++], e);
		if (r < 0)
			return r;
		if (*c.at == '\0')
			break;
		if (*c.at != ',')
			return bad(&c, e, "a comma is expected");
		c.at++;
	}
	f->n_filters++;
	return 0;
}

DEFINE_CLEANUP(filter, struct filter *, filter_free)

int filter_parse(struct filter **out, char *const *texts, size_t n, struct err *e)
{
	__attribute__((cleanup(cleanup_filter))) struct filter *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	if (n > MAX_FILTERS)
		return err_set(e, -EINVAL, "over %u filters", MAX_FILTERS);
	for (size_t i = 0; i < n; i++) {
		int r;

		if (!*texts[i]) { /* the empty filter shows everything: as if it had one selector that always
				     holds */
			f->n_filters++;
			continue;
		}
		r = take_filter(f, texts[i], e);
		if (r < 0)
			return r;
	}
	*out = take_ptr(f);
	return 0;
}

/* The value at a path, or NULL when the snapshot has none. */
static const char *field(const struct snapshot *s, const char *path)
{
	static const char *const kinds[] = {
		[SNAPSHOT_VIEW] = "view", [SNAPSHOT_ACTIVE] = "active", [SNAPSHOT_COMMITTED] = "committed"};

	if (strcmp(path, "name") == 0)
		return s->name;
	if (strcmp(path, "parent") == 0)
		return s->parent;
	if (strcmp(path, "kind") == 0)
		return kinds[s->kind];
	if (strncmp(path, "labels.", 7) == 0)
		return labels_get(&s->labels, path + 7);
	return NULL;
}

static bool holds(const struct selector *x, const struct snapshot *s)
{
	const char *value = field(s, x->path);

	switch (x->op) {
	case PRESENT:
		return value != NULL;
	case EQUAL:
		return value && strcmp(value, x->value) == 0;
	case NOT_EQUAL:
		return strcmp(value ? value : "", x->value) != 0;
	case MATCHES:
		return regexec(&x->regex, value ? value : "", 0, NULL, 0) == 0;
	}
	return false;
}

bool filter_shows(const struct filter *f, const struct snapshot *s)
{
	size_t at = 0;

	for (size_t i = 0; i < f->n_filters; i++) {
		bool all = true;

		for (; at < f->n_selectors && f->selectors[at].filter == i; at++)
			all = all && holds(&f->selectors[at], s);
		if (all)
			return true;
	}
	return f->n_filters == 0;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_selectors; i++) {
		if (f->selectors[i].op == MATCHES)
			regfree(&f->selectors[i].regex);
		free(f->selectors[i].path);
		free(f->selectors[i].value);
	}
	free(f->selectors);
	free(f);
}
