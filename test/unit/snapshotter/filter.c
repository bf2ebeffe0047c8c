/* SPDX-License-Identifier: Apache-2.0
 * The filter language of List: what containerd's own suite asks, its quoting, and what is refused. */
#include "snapshotter/filter.h"
#include "snapshotter/text.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILTERS 3

static const struct {
	const char *name, *parent;
	enum snapshot_kind kind;
	const char *label, *value;
} world[] = {
	{"a", "p", SNAPSHOT_ACTIVE, NULL, NULL},
	{"b", "", SNAPSHOT_COMMITTED, "l", "1"},
	{"c", "b", SNAPSHOT_VIEW, "containerd.io/gc.root", "now"},
	{"d", "b", SNAPSHOT_ACTIVE, "l", "2, or \"3\""},
	{"sha256:e", "", SNAPSHOT_COMMITTED, "containerd.io/snapshot.ref", "sha256:e"},
};

/* The names that are shown, joined. */
static const char *shown(char *const *texts, size_t n, char *to)
{
	struct filter *f;
	struct err e = {""};

	*to = '\0';
	cr_assert_eq(filter_parse(&f, texts, n, &e), 0, "%s: %s", n ? texts[0] : "", e.text);
	for (size_t i = 0; i < sizeof(world) / sizeof(world[0]); i++) {
		struct label label = {text_for_reader(world[i].label), text_for_reader(world[i].value)};
		struct snapshot s = {.name = text_for_reader(world[i].name),
				     .parent = text_for_reader(world[i].parent),
				     .kind = world[i].kind,
				     .labels = {world[i].label ? 1 : 0, &label}};

		if (filter_shows(f, &s))
			strcat(strcat(to, *to ? " " : ""), world[i].name);
	}
	filter_free(f);
	return to;
}

Test(filter, selects)
{
	static const struct {
		const char *filters[MAX_FILTERS];
		const char *names;
	} cases[] = {
		{{NULL}, "a b c d sha256:e"},
		{{""}, "a b c d sha256:e"},
		{{"name==nothing", ""}, "a b c d sha256:e"},
		{{"kind==active"}, "a d"},
		{{"kind==view"}, "c"},
		{{"kind==committed"}, "b sha256:e"},
		{{"name==a", "name==c"}, "a c"},
		{{"parent==b"}, "c d"},
		{{"parent!=\"\""}, "a c d"},
		{{"parent==\"\""}, "b sha256:e"},
		{{"kind!=active,parent==b"}, "c"},
		{{"labels.l"}, "b d"},
		{{"labels.l==1"}, "b"},
		{{"labels.l!=1"}, "a c d sha256:e"},
		{{"labels.\"containerd.io/gc.root\"==now"}, "c"},
		{{"labels.\"containerd.io/snapshot.ref\"==sha256:e,parent==\"\""}, "sha256:e"},
		{{"labels.l==\"2, or \\\"3\\\"\""}, "d"},
		{{"name~=^[ab]$"}, "a b"},
		{{"labels.l~=[0-9]"}, "b d"},
		{{"unknown"}, ""},
		{{"unknown!=x"}, "a b c d sha256:e"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *texts[MAX_FILTERS], names[256];
		size_t n = 0;

		while (n < MAX_FILTERS && cases[i].filters[n]) {
			texts[n] = text_for_reader(cases[i].filters[n]);
			n++;
		}
		cr_assert_str_eq(shown(texts, n, names), cases[i].names, "case %zu (%s): %s", i,
				 n ? texts[0] : "", names);
	}
}

Test(filter, refuses)
{
	static const char *const bad[] = {
		",",
		"name==",
		"==x",
		"name=x",
		"name==a,",
		"name==a b",
		"name==\"a",
		"labels.",
		"labels.\"a\\q\"==1",
		"name==a kind",
		"name~=\"[\"",
		"name~=a{9}",
		"name~=a+++++++++",
		"labels.\"a",
		" ",
		"name ==a",
		"name==\"a\"b",
		"name==\"a\\",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *text = text_for_reader(bad[i]);
		struct filter *f = NULL;

		cr_assert_eq(filter_parse(&f, &text, 1, NULL), -EINVAL, "%s", bad[i]);
	}
}

Test(filter, refuses_what_is_too_much)
{
	static char text[9000];
	char *texts[300];
	struct filter *f = NULL;

	memset(text, 'x', sizeof(text) - 1);
	texts[0] = text;
	cr_assert_eq(filter_parse(&f, texts, 1, NULL), -EINVAL);
	for (size_t i = 0; i < 300; i++)
		texts[i] = text_for_reader("name==a");
	cr_assert_eq(filter_parse(&f, texts, 300, NULL), -EINVAL);
}
