/* SPDX-License-Identifier: Apache-2.0
 * Tars made in memory, entry by entry, for the tests of what reads them. Headers are ustar; everything can be
 * put wrong through `patch`. */
#ifndef COCOON_TEST_TAR_FIXTURE_H
#define COCOON_TEST_TAR_FIXTURE_H

#include "proto/base/bytes.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct tar_out {
	struct buf b;
};

#define TAR_OUT                                                                                              \
	{                                                                                                    \
		.b = {.max = 64u << 20 }                                                                     \
	}

/* What differs from a file 0644 root:root of 1970. */
struct tar_spec {
	const char *name;
	char type; /* 0: a file */
	const char *link;
	const void *data;
	size_t size;
	unsigned mode, uid, gid;
	long long mtime;
	unsigned major, minor;
	const char *pax; /* records as pax() made them */
	size_t pax_size;
	const char *magic; /* 8 bytes; NULL: POSIX's */
};

static inline void tar_pad(struct tar_out *t)
{
	buf_zero(&t->b, -t->b.size & 511);
}

static inline void tar_sum(uint8_t *h)
{
	unsigned sum = 0;
	char text[9];

	memset(h + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += h[i];
	(void)snprintf(text, sizeof(text), "%06o", sum);
	memcpy(h + 148, text, 7);
}

static inline void tar_octal(uint8_t *at, int n, unsigned long long v)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%0*llo", n - 1, v);
	memcpy(at, text, (size_t)n);
}

/* A header block without what follows it. Returns its offset, for patching; sum it again then. */
static inline size_t tar_header(struct tar_out *t, const struct tar_spec *s)
{
	uint8_t h[512] = {0};

	memcpy(h, s->name, strnlen(s->name, 100));
	tar_octal(h + 100, 8, s->mode ? s->mode : 0644);
	tar_octal(h + 108, 8, s->uid);
	tar_octal(h + 116, 8, s->gid);
	tar_octal(h + 124, 12, s->size);
	tar_octal(h + 136, 12, (unsigned long long)s->mtime);
	h[156] = (uint8_t)(s->type ? s->type : '0');
	if (s->link)
		memcpy(h + 157, s->link, strnlen(s->link, 100));
	memcpy(h + 257, s->magic ? s->magic : "ustar\00000", 8);
	tar_octal(h + 329, 8, s->major);
	tar_octal(h + 337, 8, s->minor);
	tar_sum(h);
	buf_put(&t->b, h, sizeof(h));
	return t->b.size - sizeof(h);
}

static inline void tar_body(struct tar_out *t, const void *p, size_t n)
{
	buf_put(&t->b, p, n);
	tar_pad(t);
}

static inline void tar_extension(struct tar_out *t, char type, const void *p, size_t n)
{
	(void)tar_header(t, &(struct tar_spec){.name = "extension", .type = type, .size = n});
	tar_body(t, p, n);
}

static inline size_t tar_add(struct tar_out *t, const struct tar_spec *s)
{
	size_t at;

	if (s->pax)
		tar_extension(t, 'x', s->pax, s->pax_size ? s->pax_size : strlen(s->pax));
	at = tar_header(t, s);
	if (s->data)
		tar_body(t, s->data, s->size);
	return at;
}

#define TAR_ADD(t, ...) tar_add((t), &(struct tar_spec){__VA_ARGS__})

static inline void tar_end(struct tar_out *t)
{
	buf_zero(&t->b, 1024);
	cr_assert(!buf_failed(&t->b));
}

/* One PAX record, appended. */
static inline void pax_bytes(struct buf *b, const char *key, const void *value, size_t n)
{
	size_t rest = 3 + strlen(key) + n, total = rest, digits = 0;
	char text[24];

	while (digits != (size_t)snprintf(text, sizeof(text), "%zu", total)) {
		digits = strlen(text);
		total = rest + digits;
	}
	buf_put(b, text, digits);
	buf_put(b, " ", 1);
	buf_put(b, key, strlen(key));
	buf_put(b, "=", 1);
	buf_put(b, value, n);
	buf_put(b, "\n", 1);
}

static inline void pax_text(struct buf *b, const char *key, const char *value)
{
	pax_bytes(b, key, value, strlen(value));
}

#define PAX_OF(buf) .pax = (const char *)(buf).data, .pax_size = (buf).size

#endif
