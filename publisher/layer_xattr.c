/* SPDX-License-Identifier: Apache-2.0
 * Attributes are collected, sorted by name, and encoded; of two with one name the better source wins.
 * overlayfs' own are dropped, because they would mean something to the overlay above the image, and so are
 * names that Linux cannot show. */
#include "publisher/layer_xattr.h"

#include "proto/base/base64.h"
#include "proto/base/cleanup.h"
#include "publisher/erofs_format.h"
#include "publisher/posix_acl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAME 255u /* XATTR_NAME_MAX, with the prefix */
#define MAX_VALUE 65535u
#define MAX_LIST 65536u /* XATTR_LIST_MAX: all names of an inode, each with its NUL */

static const struct prefix {
	const char *text;
	uint8_t index;
	bool whole; /* the name is this and nothing more */
} prefixes[] = {
	{"user.", EROFS_INDEX_USER, false},
	{"trusted.", EROFS_INDEX_TRUSTED, false},
	{"security.", EROFS_INDEX_SECURITY, false},
	{"system.posix_acl_access", EROFS_INDEX_ACL_ACCESS, true},
	{"system.posix_acl_default", EROFS_INDEX_ACL_DEFAULT, true},
};

/* Where an attribute was told; the larger one counts. */
enum source { FROM_ACL, FROM_LIBARCHIVE, FROM_SCHILY };

struct attribute {
	uint8_t index;
	enum source source;
	size_t order;
	size_t name, name_size; /* without the prefix; where in `text` */
	size_t value, value_size;
};

struct collection {
	struct attribute *list;
	size_t n;
	size_t list_size;
	uint16_t mode;
	struct buf text; /* names and values */
};

static bool starts(const void *p, size_t n, const char *prefix)
{
	return n >= strlen(prefix) && !memcmp(p, prefix, strlen(prefix));
}

static const struct prefix *find_prefix(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t size = strlen(prefixes[i].text);

		if (starts(name, n, prefixes[i].text) && (prefixes[i].whole ? n == size : n > size))
			return &prefixes[i];
	}
	return NULL;
}

static int add(struct collection *c, enum source source, const struct tar_entry *entry, const char *name,
	       size_t n, const void *value, size_t value_size, struct layer_stats *stats, struct err *e)
{
	const struct prefix *p = find_prefix(name, n);
	size_t skip;

	if (memchr(name, 0, n) || !n)
		return err_set(e, -EUCLEAN, "%s: an extended attribute without a proper name", entry->path);
	if (starts(name, n, "trusted.overlay.") || starts(name, n, "user.overlay.")) {
		stats->overlay_xattrs++;
		return 0;
	}
	/* Linux has user.* on files and directories only (xattr(7)). */
	if (!p || (p->index == EROFS_INDEX_USER && entry->type != TAR_FILE && entry->type != TAR_DIR)) {
		stats->dropped_xattrs++;
		return 0;
	}
	c->list_size += n + 1;
	if (n > MAX_NAME || value_size > MAX_VALUE || c->list_size > MAX_LIST)
		return err_set(e, -ENOTSUP, "%s: attribute %.*s: more than Linux can show", entry->path,
			       (int)(n < 64 ? n : 64), name);
	skip = strlen(p->text);
	c->list[c->n] = (struct attribute){.index = p->index,
					   .source = source,
					   .order = c->n,
					   .name = c->text.size,
					   .name_size = n - skip,
					   .value = c->text.size + n - skip,
					   .value_size = value_size};
	c->n++;
	buf_put(&c->text, name + skip, n - skip);
	buf_put(&c->text, value, value_size);
	return 0;
}

static int hex(char c)
{
	static const char digits[] = "0123456789ABCDEFabcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return !at ? -1 : at - digits < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

/* %41 is A. */
static bool decode_name(struct buf *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '%') {
			buf_u8(out, (uint8_t)p[i]);
			continue;
		}
		if (n - i < 3 || hex(p[i + 1]) < 0 || hex(p[i + 2]) < 0)
			return false;
		buf_u8(out, (uint8_t)(hex(p[i + 1]) << 4 | hex(p[i + 2])));
		i += 2;
	}
	return true;
}

/* libarchive leaves the padding out. */
static bool decode_value(struct buf *out, const uint8_t *p, size_t n)
{
	cleanup_buf struct buf text = {.max = TAR_MAX_EXTENSION + 4};

	while (n && p[n - 1] == '=')
		n--;
	buf_put(&text, p, n);
	while (text.size & 3)
		buf_u8(&text, '=');
	return base64_decode(out, BASE64_STANDARD, (const char *)text.data, text.size) == 0;
}

static int add_libarchive(struct collection *c, const struct tar_entry *entry, const char *name, size_t n,
			  const struct pax_record *r, struct layer_stats *stats, struct err *e)
{
	cleanup_buf struct buf text = {.max = TAR_MAX_EXTENSION}, value = {.max = TAR_MAX_EXTENSION};

	if (!decode_name(&text, name, n) || !decode_value(&value, r->value, r->value_size))
		return err_set(e, -EUCLEAN, "%s: a malformed LIBARCHIVE.xattr record", entry->path);
	if (buf_failed(&text) || buf_failed(&value))
		return -ENOMEM;
	return add(c, FROM_LIBARCHIVE, entry, (const char *)text.data, text.size, value.data, value.size,
		   stats, e);
}

static int add_acl(struct collection *c, const struct tar_entry *entry, const char *name, bool access,
		   const struct pax_record *r, struct layer_stats *stats, struct err *e)
{
	cleanup_buf struct buf value = {.max = POSIX_ACL_MAX};
	uint16_t mode;
	int answer = posix_acl_encode(r->value, r->value_size, &value, &mode);

	if (answer == POSIX_ACL_MINIMAL)
		return 0;
	if (answer == POSIX_ACL_NAMES) {
		stats->dropped_xattrs++;
		return 0;
	}
	if (answer < 0)
		return answer == -ENOMEM ? answer : err_set(e, answer, "%s: a malformed ACL", entry->path);
	if (access)
		c->mode = (uint16_t)((c->mode & ~0777) | mode);
	return add(c, FROM_ACL, entry, name, strlen(name), value.data, value.size, stats, e);
}

static int add_record(struct collection *c, const struct tar_entry *entry, const struct pax_record *r,
		      struct layer_stats *stats, struct err *e)
{
	static const char schily[] = "SCHILY.xattr.", libarchive[] = "LIBARCHIVE.xattr.";

	if (starts(r->key, r->key_size, schily))
		return add(c, FROM_SCHILY, entry, r->key + strlen(schily), r->key_size - strlen(schily),
			   r->value, r->value_size, stats, e);
	if (starts(r->key, r->key_size, libarchive))
		return add_libarchive(c, entry, r->key + strlen(libarchive), r->key_size - strlen(libarchive),
				      r, stats, e);
	if (starts(r->key, r->key_size, "SCHILY.acl.access") && r->value_size)
		return add_acl(c, entry, "system.posix_acl_access", true, r, stats, e);
	if (starts(r->key, r->key_size, "SCHILY.acl.default") && r->value_size)
		return add_acl(c, entry, "system.posix_acl_default", false, r, stats, e);
	return 0;
}

/* By name; of one name first the best source's last word. qsort_r() hands the texts in. */
static int compare_names(const struct attribute *x, const struct attribute *y, const uint8_t *text)
{
	size_t n = x->name_size < y->name_size ? x->name_size : y->name_size;
	int r;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	r = n ? memcmp(text + x->name, text + y->name, n) : 0;
	if (r)
		return r;
	return x->name_size < y->name_size ? -1 : x->name_size > y->name_size;
}

static int compare(const void *a, const void *b, void *text)
{
	const struct attribute *x = a, *y = b;
	int r = compare_names(x, y, text);

	if (r)
		return r;
	if (x->source != y->source)
		return x->source > y->source ? -1 : 1;
	return x->order > y->order ? -1 : 1;
}

static int encode(struct collection *c, struct buf *out)
{
	const struct attribute *last = NULL;

	qsort_r(c->list, c->n, sizeof(*c->list), compare, c->text.data);
	for (size_t i = 0; i < c->n; i++) {
		const struct attribute *a = &c->list[i];

		if (last && !compare_names(last, a, c->text.data))
			continue;
		last = a;
		buf_u8(out, (uint8_t)a->name_size);
		buf_u8(out, a->index);
		buf_le16(out, (uint16_t)a->value_size);
		buf_put(out, c->text.data + a->name, a->name_size);
		buf_put(out, c->text.data + a->value, a->value_size);
		buf_zero(out, -out->size & 3);
	}
	return buf_failed(out) ? -ENOMEM : 0;
}

static size_t count_records(struct bytes pax)
{
	struct pax_record r;
	size_t n = 0;

	while (tar_pax_next(&pax, &r))
		n++;
	return n;
}

static int collect(struct collection *c, const struct tar_entry *entry, struct layer_stats *stats,
		   struct err *e)
{
	struct bytes pax = entry->pax;
	struct pax_record record;
	int r = 0;

	while (r == 0 && tar_pax_next(&pax, &record))
		r = add_record(c, entry, &record, stats, e);
	return r == 0 && buf_failed(&c->text) ? -ENOMEM : r;
}

int layer_xattrs(const struct xattr_set **out, uint16_t *mode, struct tree *t, const struct tar_entry *entry,
		 struct layer_stats *stats, struct err *e)
{
	cleanup_free struct attribute *list = NULL;
	cleanup_buf struct buf entries = {.max = (size_t)2 * TAR_MAX_EXTENSION};
	size_t n = count_records(entry->pax); /* each gives one attribute at most */
	struct collection c;
	int r;

	*out = NULL;
	if (!n)
		return 0;
	list = calloc(n, sizeof(*list));
	if (!list)
		return -ENOMEM;
	c = (struct collection){.list = list, .mode = *mode};
	buf_init(&c.text, (size_t)2 * TAR_MAX_EXTENSION);
	r = collect(&c, entry, stats, e);
	if (r == 0 && c.n)
		r = encode(&c, &entries);
	buf_deinit(&c.text);
	if (r < 0 || !c.n)
		return r;
	*mode = c.mode;
	if (entries.size > EROFS_XATTR_MAX)
		return err_set(e, -ENOTSUP, "%s: %zu bytes of extended attributes; %u are possible",
			       entry->path, entries.size, EROFS_XATTR_MAX);
	*out = tree_xattrs(t, entries.data, entries.size);
	return *out ? 0 : -ENOMEM;
}
