/* SPDX-License-Identifier: Apache-2.0
 * From text to the kernel's form: entries sorted by tag, then by number. */
#include "publisher/posix_acl.h"

#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 2u
#define NO_ID UINT32_MAX
#define ENTRY_SIZE 8u

enum tag { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

struct field {
	const char *at;
	size_t size;
};

/* Cut the next piece that ends with one of `ends` off *rest. */
static struct field cut(struct field *rest, const char *ends)
{
	struct field f = {rest->at, 0};

	while (f.size < rest->size && !(f.at[f.size] && strchr(ends, f.at[f.size])))
		f.size++;
	rest->at += f.size;
	rest->size -= f.size;
	if (rest->size) {
		rest->at++;
		rest->size--;
	}
	return f;
}

static bool field_is(struct field f, const char *word, const char *letter)
{
	return (f.size == strlen(word) && !memcmp(f.at, word, f.size)) || (f.size == 1 && *f.at == *letter);
}

static bool parse_id(struct field f, uint32_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < f.size; i++) {
		if (f.at[i] < '0' || f.at[i] > '9' || v > NO_ID)
			return false;
		v = v * 10 + (uint64_t)(f.at[i] - '0');
	}
	*out = (uint32_t)v;
	return f.size && v < NO_ID;
}

static bool parse_perm(struct field f, uint16_t *out)
{
	static const char letters[] = "rwx";

	if (f.size != 3)
		return false;
	*out = 0;
	for (int i = 0; i < 3; i++) {
		if (f.at[i] == letters[i])
			*out |= (uint16_t)(4 >> i);
		else if (f.at[i] != '-')
			return false;
	}
	return true;
}

/* tag:qualifier:permissions[:number] */
static int parse_entry(struct field text, struct acl_entry *out)
{
	struct field tag = cut(&text, ":"), who = cut(&text, ":"), perm, number;

	if (field_is(tag, "default", "d")) {
		tag = who;
		who = cut(&text, ":");
	}
	perm = cut(&text, ":");
	number = text;
	if (!parse_perm(perm, &out->perm))
		return -EUCLEAN;
	out->id = NO_ID;
	if (field_is(tag, "user", "u"))
		out->tag = who.size ? USER : USER_OBJ;
	else if (field_is(tag, "group", "g"))
		out->tag = who.size ? GROUP : GROUP_OBJ;
	else if (field_is(tag, "mask", "m"))
		out->tag = MASK;
	else if (field_is(tag, "other", "o"))
		out->tag = OTHER;
	else
		return -EUCLEAN;
	if (out->tag & (USER | GROUP) && !parse_id(number, &out->id) && !parse_id(who, &out->id))
		return POSIX_ACL_NAMES;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct acl_entry *x = a, *y = b;

	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* One entry for each tag that must be there, none twice, a mask where there is something to mask (acl(5),
 * "VALID ACLs"). */
static int check(const struct acl_entry *list, size_t n)
{
	unsigned seen = 0;

	for (size_t i = 0; i < n; i++) {
		if (i && !compare(&list[i - 1], &list[i]))
			return -EUCLEAN;
		seen |= list[i].tag;
	}
	if ((seen & (USER_OBJ | GROUP_OBJ | OTHER)) != (USER_OBJ | GROUP_OBJ | OTHER))
		return -EUCLEAN;
	if (seen & (USER | GROUP) && !(seen & MASK))
		return -EUCLEAN;
	return n == 3 ? POSIX_ACL_MINIMAL : 0;
}

static uint16_t mode_of(const struct acl_entry *list, size_t n)
{
	uint16_t user = 0, group = 0, other = 0;

	for (size_t i = 0; i < n; i++) {
		if (list[i].tag == USER_OBJ)
			user = list[i].perm;
		else if (list[i].tag == GROUP_OBJ || list[i].tag == MASK) /* sorted: a mask comes later */
			group = list[i].perm;
		else if (list[i].tag == OTHER)
			other = list[i].perm;
	}
	return (uint16_t)(user << 6 | group << 3 | other);
}

int posix_acl_encode(const void *text, size_t n, struct buf *out, uint16_t *mode)
{
	struct field rest = {text, n};
	cleanup_free struct acl_entry *list = calloc(POSIX_ACL_MAX / ENTRY_SIZE, sizeof(*list));
	size_t count = 0;
	int r;

	if (!list)
		return -ENOMEM;
	while (rest.size) {
		struct field f = cut(&rest, ",\n");

		if (!f.size || *f.at == '#')
			continue;
		if (count == (POSIX_ACL_MAX - 4) / ENTRY_SIZE)
			return -E2BIG;
		r = parse_entry(f, &list[count++]);
		if (r)
			return r;
	}
	qsort(list, count, sizeof(*list), compare);
	r = check(list, count);
	if (r)
		return r;
	*mode = mode_of(list, count);
	buf_le32(out, VERSION);
	for (size_t i = 0; i < count; i++) {
		buf_le16(out, list[i].tag);
		buf_le16(out, list[i].perm);
		buf_le32(out, list[i].id);
	}
	return buf_failed(out) ? -ENOMEM : 0;
}
