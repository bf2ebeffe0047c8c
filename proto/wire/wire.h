/* SPDX-License-Identifier: Apache-2.0
 * The wire between guest and host: frames and messages as structs, encoded and decoded in both directions
 * (proto/WIRE.md, same names). Pure functions over bytes; sockets are the business of guestfs/ and
 * chunkstore/. */
#ifndef COCOON_WIRE_WIRE_H
#define COCOON_WIRE_WIRE_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"
#include "proto/format/descriptor.h"

#include <stdbool.h>
#include <stdint.h>

#define WIRE_VERSION 1u
#define WIRE_HEADER_SIZE 16u
#define WIRE_MAX_PAYLOAD 0x120000u
#define WIRE_MAX_REFERENCE 1024u
#define WIRE_MAX_INDEX_READ (1u << 20)
#define WIRE_MAX_RUNS 64u
#define WIRE_MAX_CHUNKS 256u /* of one request */
#define WIRE_MAX_HANDLES 64u
#define WIRE_MAX_WORDS 256u
#define WIRE_DEFAULT_PORT 7681u
#define WIRE_STALL_SECONDS 30

enum wire_type { WIRE_HELLO = 1, WIRE_OPEN = 2, WIRE_INDEX = 3, WIRE_CHUNKS = 4 };

enum wire_status {
	WIRE_OK = 0,
	WIRE_NOT_FOUND = 1,
	WIRE_UNAVAILABLE = 2,
	WIRE_DENIED = 3,
	WIRE_INVALID = 4,
	WIRE_BUSY = 5,
	WIRE_INTERNAL = 6,
	WIRE_UNSUPPORTED = 7,
};

struct wire_header {
	uint32_t size; /* payload bytes */
	enum wire_type type;
	enum wire_status status;
	uint64_t id;
};

struct wire_run {
	uint32_t first, count;
};

struct wire_chunks {
	uint32_t handle;
	bool ahead; /* ahead of need: may be answered after others */
	uint32_t n_runs;
	struct wire_run runs[WIRE_MAX_RUNS];
};

struct wire_index {
	uint32_t handle, length;
	uint64_t offset;
};

/* What an OPEN answer holds; pointers borrow from the payload. */
struct wire_opened {
	uint32_t handle;
	const uint8_t *manifest;
	uint32_t manifest_size;
	const uint8_t *descriptor; /* DESCRIPTOR_SIZE bytes */
};

/* What an answer with a status other than OK holds; words are cut, printable and NUL-terminated. */
struct wire_failure {
	uint32_t chunk;
	char words[WIRE_MAX_WORDS + 1];
};

/* All decoders: 0 or -EPROTO with words. Headers of requests must have status OK; answers may have any. */
int wire_header_decode(struct wire_header *out, const uint8_t raw[static WIRE_HEADER_SIZE], bool request,
		       struct err *e);
void wire_header_encode(const struct wire_header *h, uint8_t raw[static WIRE_HEADER_SIZE]);

/* -ENOTSUP when the peer speaks another version. */
int wire_hello_decode(const uint8_t *p, size_t n, struct err *e);
void wire_hello_encode(struct buf *to);
int wire_welcome_decode(uint32_t *max_open, const uint8_t *p, size_t n, struct err *e);
void wire_welcome_encode(struct buf *to, uint32_t max_open);

/* `reference` is borrowed from the payload, not NUL-terminated. */
int wire_open_decode(const char **reference, size_t *length, const uint8_t *p, size_t n, struct err *e);
void wire_open_encode(struct buf *to, const char *reference, size_t length);
int wire_opened_decode(struct wire_opened *out, const uint8_t *p, size_t n, struct err *e);
void wire_opened_encode(struct buf *to, const struct wire_opened *o);

int wire_index_decode(struct wire_index *out, const uint8_t *p, size_t n, struct err *e);
void wire_index_encode(struct buf *to, const struct wire_index *q);

int wire_chunks_decode(struct wire_chunks *out, const uint8_t *p, size_t n, struct err *e);
void wire_chunks_encode(struct buf *to, const struct wire_chunks *q);

/* A chunk's answer: the stored bytes are borrowed from the payload. */
int wire_chunk_decode(uint32_t *number, const uint8_t **stored, size_t *stored_size, const uint8_t *p,
		      size_t n, struct err *e);

void wire_failure_encode(struct buf *to, uint32_t chunk, const char *words);
int wire_failure_decode(struct wire_failure *out, const uint8_t *p, size_t n, struct err *e);

/* The negative errno that a status other than OK means to the one who asked: NOT_FOUND -ENOENT, UNAVAILABLE,
 * BUSY and INTERNAL -EAGAIN (ask again until the deadline), DENIED -EACCES, INVALID -EPROTO, UNSUPPORTED
 * -ENOTSUP. */
int wire_status_errno(enum wire_status status);

#endif
