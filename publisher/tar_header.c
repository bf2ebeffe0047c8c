/* SPDX-License-Identifier: Apache-2.0
 * Decoding of tar headers: fixed fields, base-256 numbers, PAX records. */
#include "publisher/tar_header.h"
#include "publisher/digits.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* Offsets and sizes in the block (POSIX.1-2017, pax). */
enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_CHECKSUM = 148,
	AT_TYPE = 156,
	AT_LINK = 157,
	AT_MAGIC = 257,
	AT_MAJOR = 329,
	AT_MINOR = 337,
	AT_PREFIX = 345,
	AT_STAR_TRAILER = 508,
};

static int base256(const uint8_t *p, size_t n, int64_t *out)
{
	bool negative = p[0] & 0x40;
	uint64_t v = negative ? UINT64_MAX : 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t digit = i ? p[i] : (uint8_t)((p[0] & 0x7f) | (negative ? 0x80 : 0));

		if (v >> 55 != (negative ? 0x1ff : 0))
			return -EUCLEAN;
		v = v << 8 | digit;
	}
	*out = (int64_t)v;
	return 0;
}

int tar_number(const uint8_t *p, size_t n, int64_t *out)
{
	int64_t v = 0;

	if (p[0] & 0x80)
		return base256(p, n, out);
	while (n && (p[n - 1] == ' ' || p[n - 1] == 0))
		n--;
	while (n && (*p == ' ' || *p == 0)) {
		p++;
		n--;
	}
	for (; n; p++, n--) {
		if (*p < '0' || *p > '7' || v >> 60)
			return -EUCLEAN;
		v = v << 3 | (*p - '0');
	}
	*out = v;
	return 0;
}

/* A field that cannot be negative and has a largest value. */
static int bounded(const uint8_t *block, size_t at, size_t n, uint64_t max, uint64_t *out, const char *what,
		   struct err *e)
{
	int64_t v;
	int r = tar_number(block + at, n, &v);

	if (r < 0 || v < 0 || (uint64_t)v > max)
		return err_set(e, -EUCLEAN, "a tar header with an impossible %s", what);
	*out = (uint64_t)v;
	return 0;
}

static void copy_text(char *to, const uint8_t *from, size_t n)
{
	n = strnlen((const char *)from, n);
	memcpy(to, from, n);
	to[n] = 0;
}

static int check_sum(const uint8_t *block, struct err *e)
{
	int64_t want, sum = 0, signed_sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		uint8_t c = i >= AT_CHECKSUM && i < AT_CHECKSUM + 8 ? ' ' : block[i];

		sum += c;
		signed_sum += (int8_t)c; /* what some old writers took for the rule */
	}
	if (tar_number(block + AT_CHECKSUM, 8, &want) < 0 || (want != sum && want != signed_sum))
		return err_set(e, -EUCLEAN, "a tar header with a wrong checksum");
	return 0;
}

static void decode_path(struct tar_header *h, const uint8_t *block)
{
	bool ustar = !memcmp(block + AT_MAGIC, "ustar\0", 6);
	bool star = ustar && !memcmp(block + AT_STAR_TRAILER, "tar\0", 4);
	size_t n = 0;

	if (ustar) {
		copy_text(h->path, block + AT_PREFIX, star ? 131 : 155);
		n = strlen(h->path);
		if (n)
			h->path[n++] = '/';
	}
	copy_text(h->path + n, block + AT_NAME, 100);
}

int tar_header_decode(struct tar_header *out, const uint8_t block[static TAR_BLOCK], struct err *e)
{
	struct tar_header h = {.type = block[AT_TYPE]};
	bool extended = !memcmp(block + AT_MAGIC, "ustar",
				5); /* POSIX's or GNU's: the fields behind the magic count */
	uint64_t mode = 0, uid = 0, gid = 0, major = 0, minor = 0;
	int r = check_sum(block, e);

	if (r == 0)
		r = bounded(block, AT_MODE, 8, INT64_MAX, &mode, "mode", e);
	if (r == 0)
		r = bounded(block, AT_UID, 8, UINT32_MAX, &uid, "owner", e);
	if (r == 0)
		r = bounded(block, AT_GID, 8, UINT32_MAX, &gid, "group", e);
	if (r == 0)
		r = bounded(block, AT_SIZE, 12, INT64_MAX, &h.size, "size", e);
	if (r == 0 && extended && (h.type == TAR_CHR || h.type == TAR_BLK)) {
		r = bounded(block, AT_MAJOR, 8, UINT32_MAX, &major, "device number", e);
		if (r == 0)
			r = bounded(block, AT_MINOR, 8, UINT32_MAX, &minor, "device number", e);
	}
	if (r < 0)
		return r;
	if (tar_number(block + AT_MTIME, 12, &h.mtime) < 0)
		return err_set(e, -EUCLEAN, "a tar header with an impossible time");
	h.mode = mode & 07777;
	h.uid = (uint32_t)uid;
	h.gid = (uint32_t)gid;
	h.major = (uint32_t)major;
	h.minor = (uint32_t)minor;
	copy_text(h.link, block + AT_LINK, 100);
	decode_path(&h, block);
	*out = h;
	return 0;
}

static bool decimal(const struct pax_record *r, uint64_t max, uint64_t *out)
{
	const uint8_t *p = r->value, *end = p + r->value_size;

	return digits(&p, end, out) && p == end && *out <= max;
}

/* Seconds with a fraction, "-1.5" is one and a half before 1970; digits beyond nanoseconds are cut off. */
static bool pax_time(const struct pax_record *r, struct tar_header *h)
{
	const uint8_t *p = r->value, *end = p + r->value_size;
	bool negative = p < end && *p == '-';
	uint64_t seconds;
	uint32_t nsec = 0, unit = 100000000;

	p += negative;
	if (!digits(&p, end, &seconds) || seconds > INT64_MAX - 1)
		return false;
	if (p < end && *p++ != '.')
		return false;
	for (; p < end && isdigit(*p); p++, unit /= 10)
		nsec += unit * (uint32_t)(*p - '0');
	if (p != end)
		return false;
	h->mtime = negative ? -(int64_t)seconds : (int64_t)seconds;
	if (negative && nsec) {
		h->mtime--;
		nsec = 1000000000 - nsec;
	}
	h->mtime_nsec = nsec;
	return true;
}

/* One record: "<length> <key>=<value>\n", the length counts all of it. */
static bool parse_record(struct bytes *b, struct pax_record *out)
{
	const uint8_t *p = b->at, *end = p + b->left, *key, *equals;
	uint64_t length;

	if (!digits(&p, end, &length) || p == end || *p++ != ' ' || length > b->left)
		return false;
	end = b->at + length;
	if (p >= end || end[-1] != '\n')
		return false;
	key = p;
	equals = memchr(key, '=', (size_t)(end - key));
	if (!equals || equals == key)
		return false;
	*out = (struct pax_record){
		.key = (const char *)key,
		.key_size = (size_t)(equals - key),
		.value = equals + 1,
		.value_size = (size_t)(end - 1 - (equals + 1)),
	};
	b->at += length;
	b->left -= length;
	return true;
}

bool tar_pax_next(struct bytes *pax, struct pax_record *out)
{
	return pax->left && parse_record(pax, out);
}

static bool key_is(const struct pax_record *r, const char *key)
{
	return r->key_size == strlen(key) && !memcmp(r->key, key, r->key_size);
}

static bool value_is(const struct pax_record *r, const char *value)
{
	return r->value_size == strlen(value) && !memcmp(r->value, value, r->value_size);
}

static bool text(const struct pax_record *r, struct buf *to)
{
	if (memchr(r->value, 0, r->value_size))
		return false;
	to->size = 0;
	buf_put(to, r->value, r->value_size);
	buf_u8(to, 0);
	return true;
}

static void version(const struct pax_record *r, bool *zero, bool *one, bool *other)
{
	*zero = value_is(r, "0");
	*one = value_is(r, "1");
	if (!*zero && !*one)
		*other = true;
}

/* Format 0.0 has a record for each number of the map, 0.1 one record for all. */
static bool sparse_record(const struct pax_record *r, struct buf *path, struct tar_pax_sparse *s)
{
	if (key_is(r, "GNU.sparse.major")) {
		version(r, &s->major_0, &s->major_1, &s->other_version);
	} else if (key_is(r, "GNU.sparse.minor")) {
		version(r, &s->minor_0, &s->minor_1, &s->other_version);
	} else if (key_is(r, "GNU.sparse.name")) {
		s->has_name = true;
		return text(r, path);
	} else if (key_is(r, "GNU.sparse.size") || key_is(r, "GNU.sparse.realsize")) {
		s->has_size = true;
		return decimal(r, INT64_MAX, &s->size);
	} else if (key_is(r, "GNU.sparse.map")) {
		s->map.size = 0;
		buf_put(&s->map, r->value, r->value_size);
	} else if (key_is(r, "GNU.sparse.offset") || key_is(r, "GNU.sparse.numbytes")) {
		if (s->map.size)
			buf_u8(&s->map, ',');
		buf_put(&s->map, r->value, r->value_size);
	}
	return true;
}

static bool apply(const struct pax_record *r, struct tar_header *h, struct buf *path, struct buf *link,
		  struct tar_pax_sparse *sparse)
{
	uint64_t id;

	if (r->key_size > 11 && !memcmp(r->key, "GNU.sparse.", 11))
		return sparse_record(r, path, sparse);
	if (!r->value_size) /* "as if the record were not there" */
		return true;
	if (key_is(r, "path")) /* of a sparse file it is not the true name */
		return sparse->has_name || text(r, path);
	if (key_is(r, "linkpath"))
		return text(r, link);
	if (key_is(r, "size"))
		return decimal(r, INT64_MAX, &h->size);
	if (key_is(r, "mtime"))
		return pax_time(r, h);
	if (key_is(r, "uid")) {
		if (!decimal(r, UINT32_MAX, &id))
			return false;
		h->uid = (uint32_t)id;
	} else if (key_is(r, "gid")) {
		if (!decimal(r, UINT32_MAX, &id))
			return false;
		h->gid = (uint32_t)id;
	}
	return true;
}

int tar_pax_apply(struct bytes pax, struct tar_header *h, struct buf *path, struct buf *link,
		  struct tar_pax_sparse *sparse, struct err *e)
{
	struct pax_record r;

	while (tar_pax_next(&pax, &r)) {
		if (!apply(&r, h, path, link, sparse))
			return err_set(e, -EUCLEAN, "a PAX record with an impossible value: %.*s",
				       (int)(r.key_size > 64 ? 64 : r.key_size), r.key);
	}
	if (pax.left)
		return err_set(e, -EUCLEAN, "a malformed PAX record");
	return 0;
}
