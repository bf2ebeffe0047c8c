/* SPDX-License-Identifier: Apache-2.0
 * Bytes from outside are read through `struct bytes`, a cursor that cannot leave its window: a short read
 * poisons it, later reads give zeroes, and bytes_end() tells once, at the end, whether everything was there
 * and nothing was left. Bytes of ours are written through `struct buf`, which is born with its largest size.
 * All integers are little-endian. Neither is thread-safe; each belongs to one function or one owner. */
#ifndef COCOON_BASE_BYTES_H
#define COCOON_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *at; /* borrowed */
	size_t left;
	bool bad; /* a read went past the end */
};

static inline struct bytes bytes_of(const void *p, size_t n)
{
	return (struct bytes){p, n, false};
}

uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_le16(struct bytes *b);
uint32_t bytes_le32(struct bytes *b);
uint64_t bytes_le64(struct bytes *b);

/* Borrow the next n bytes; NULL (and poisoned) when fewer are left. */
const uint8_t *bytes_take(struct bytes *b, size_t n);

/* Copy the next n bytes to `to`; zeroes when fewer are left. */
void bytes_copy(struct bytes *b, void *to, size_t n);

/* Skip n bytes that must be zero; anything else poisons the cursor. */
void bytes_zero(struct bytes *b, size_t n);

/* True when no read failed and nothing is left. */
bool bytes_end(const struct bytes *b);

/* For structs of fixed size that are patched in place. */
uint16_t get_le16(const uint8_t p[static 2]);
uint32_t get_le32(const uint8_t p[static 4]);
uint64_t get_le64(const uint8_t p[static 8]);
void put_le16(uint8_t p[static 2], uint16_t v);
void put_le32(uint8_t p[static 4], uint32_t v);
void put_le64(uint8_t p[static 8], uint64_t v);

/* A growing buffer of ours. Appends after a failure do nothing; buf_failed() tells once. */
struct buf {
	uint8_t *data; /* owned; NULL while empty */
	size_t size;
	size_t room;
	size_t max;  /* never larger than this */
	bool failed; /* no memory, or over max */
	bool secret; /* wipes every piece of memory that it leaves */
};

void buf_init(struct buf *b, size_t max);
/* For keys and plaintext: growing and buf_deinit() leave no copy behind. */
void buf_init_secret(struct buf *b, size_t max);
void buf_deinit(struct buf *b); /* frees; then it is empty, with the same max and secrecy */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_zero(struct buf *b, size_t n);
void buf_u8(struct buf *b, uint8_t v);
void buf_le16(struct buf *b, uint16_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);
static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}

#define cleanup_buf __attribute__((cleanup(buf_deinit)))

#endif
