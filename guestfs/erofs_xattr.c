/* SPDX-License-Identifier: Apache-2.0
 * Extended attributes: an area behind the inode with entries of its own and numbers of shared ones. Both are
 * walked by one function, which checks each entry before anybody sees it; what is looked for ends it. */
#include "guestfs/erofs_internal.h"
#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_HEADER_SIZE 4u

enum { STOP = 1 };

struct attribute {
	char name[EROFS_XATTR_NAME_SIZE + 32]; /* with its prefix, NUL-terminated */
	size_t name_size;
	const uint8_t *value;
	size_t value_size;
};

/* 0 to go on, STOP, or a negative errno. */
typedef int attribute_fn(void *arg, const struct attribute *a);

static const char *const prefixes[] = {
	[1] = "user.",
	[2] = "system.posix_acl_access",
	[3] = "system.posix_acl_default",
	[4] = "trusted.",
	[6] = "security.",
};

static int bad_xattr(struct err *e, const struct erofs_inode *inode, const char *what)
{
	return err_set(e, -EUCLEAN, "EROFS inode %llu, attributes: %s", (unsigned long long)inode->nid, what);
}

/* Decode the entry at the cursor, padding included. */
static const char *entry_wrong(struct bytes *b, struct attribute *a)
{
	uint8_t name_size = bytes_u8(b), index = bytes_u8(b);
	uint16_t value_size = bytes_le16(b);
	const uint8_t *name = bytes_take(b, name_size);
	size_t prefix_size, padding = -(ENTRY_HEADER_SIZE + name_size + (size_t)value_size) & 3;
	bool acl = index == 2 || index == 3;

	a->value = bytes_take(b, value_size);
	a->value_size = value_size;
	(void)bytes_take(b, padding);
	if (b->bad)
		return "an entry leaves its area";
	if (index >= sizeof(prefixes) / sizeof(prefixes[0]) || !prefixes[index])
		return "an unknown kind of name";
	prefix_size = strlen(prefixes[index]);
	if (acl != (name_size == 0) || (name_size > 0 && memchr(name, '\0', name_size)) ||
	    prefix_size + name_size > EROFS_XATTR_NAME_SIZE)
		return "an impossible name";
	memcpy(a->name, prefixes[index], prefix_size);
	if (name_size > 0)
		memcpy(a->name + prefix_size, name, name_size);
	a->name_size = prefix_size + name_size;
	a->name[a->name_size] = '\0';
	return NULL;
}

/* A shared entry: its header says how much there is to read. */
static int walk_shared(const struct erofs *fs, const struct erofs_inode *inode, uint32_t id, attribute_fn *fn,
		       void *arg, struct err *e)
{
	uint64_t at = fs->xattr_start + (uint64_t)id * 4;
	uint8_t header[ENTRY_HEADER_SIZE];
	cleanup_free uint8_t *raw = NULL;
	struct attribute a;
	const char *wrong;
	struct bytes b;
	size_t size;
	int r;

	if (at > fs->size || fs->size - at < sizeof(header))
		return bad_xattr(e, inode, "a shared entry outside the image");
	r = fs->pread(fs->arg, header, sizeof(header), at, e);
	if (r < 0)
		return r;
	size = (ENTRY_HEADER_SIZE + header[0] + (size_t)get_le16(header + 2) + 3) & ~(size_t)3;
	if (fs->size - at < size)
		return bad_xattr(e, inode, "a shared entry outside the image");
	raw = malloc(size);
	if (!raw)
		return err_set(e, -ENOMEM, "out of memory");
	r = fs->pread(fs->arg, raw, size, at, e);
	if (r < 0)
		return r;
	b = bytes_of(raw, size);
	wrong = entry_wrong(&b, &a);
	return wrong ? bad_xattr(e, inode, wrong) : fn(arg, &a);
}

/* Call `fn` for each attribute, the inode's own first. 0 at the end, STOP, or a negative errno. */
static int walk(const struct erofs *fs, const struct erofs_inode *inode, attribute_fn *fn, void *arg,
		struct err *e)
{
	cleanup_free uint8_t *raw = NULL;
	const uint8_t *shared;
	struct bytes b;
	uint8_t n_shared;
	int r;

	if (inode->xattr_size == 0)
		return 0;
	raw = malloc(inode->xattr_size);
	if (!raw)
		return err_set(e, -ENOMEM, "out of memory");
	r = fs->pread(fs->arg, raw, inode->xattr_size, inode->xattr_offset, e);
	if (r < 0)
		return r;
	b = bytes_of(raw, inode->xattr_size);
	(void)bytes_le32(&b); /* name filter: of use to newer kernels */
	n_shared = bytes_u8(&b);
	bytes_zero(&b, 7);
	shared = bytes_take(&b, (size_t)n_shared * 4);
	if (b.bad)
		return bad_xattr(e, inode, "the header is wrong");
	while (b.left > 0) {
		struct attribute a;
		const char *wrong = entry_wrong(&b, &a);

		r = wrong ? bad_xattr(e, inode, wrong) : fn(arg, &a);
		if (r != 0)
			return r;
	}
	for (uint32_t i = 0; i < n_shared && r == 0; i++)
		r = walk_shared(fs, inode, get_le32(shared + 4 * (size_t)i), fn, arg, e);
	return r;
}

struct listing {
	char *to;
	size_t room, size;
};

static int list_one(void *arg, const struct attribute *a)
{
	struct listing *l = arg;
	size_t n = a->name_size + 1;

	if (l->room > 0 && n > l->room - l->size)
		return -ERANGE;
	if (l->room > 0)
		memcpy(l->to + l->size, a->name, n);
	l->size += n;
	return 0;
}

int erofs_listxattr(const struct erofs *fs, const struct erofs_inode *inode, char *to, size_t room,
		    size_t *size, struct err *e)
{
	struct listing l = {.to = to, .room = room};
	int r = walk(fs, inode, list_one, &l, e);

	*size = l.size;
	return r;
}

struct search {
	const char *name;
	uint8_t *to;
	size_t room, size;
};

static int match_one(void *arg, const struct attribute *a)
{
	struct search *s = arg;

	if (strcmp(a->name, s->name) != 0)
		return 0;
	s->size = a->value_size;
	if (s->room == 0)
		return STOP;
	if (s->size > s->room)
		return -ERANGE;
	memcpy(s->to, a->value, s->size);
	return STOP;
}

int erofs_getxattr(const struct erofs *fs, const struct erofs_inode *inode, const char *name, void *to,
		   size_t room, size_t *size, struct err *e)
{
	struct search s = {.name = name, .to = to, .room = room};
	int r = walk(fs, inode, match_one, &s, e);

	if (r == 0)
		return err_set(e, -ENODATA, "no attribute %s", name);
	if (r < 0)
		return r;
	*size = s.size;
	return 0;
}
