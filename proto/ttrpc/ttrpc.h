/* SPDX-License-Identifier: Apache-2.0
 * ttrpc (containerd/ttrpc, PROTOCOL.md): a header of ten bytes, big-endian, before each message of one
 * stream; a unary call is one Request answered by one Response, both protocol buffers. The few services that
 * Kata's agent and the Confidential Data Hub speak over it are unary. Decoders borrow from what they are
 * given. */
#ifndef COCOON_TTRPC_TTRPC_H
#define COCOON_TTRPC_TTRPC_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#define TTRPC_HEADER_SIZE 10
#define TTRPC_MAX_DATA (4u << 20) /* PROTOCOL.md: messages of at most 4 MiB */
#define TTRPC_NAME_SIZE 128	  /* of services and methods, with NUL; those in use have 40 bytes at most */

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };

struct ttrpc_header {
	uint32_t size;	 /* of what follows; at most TTRPC_MAX_DATA */
	uint32_t stream; /* odd: streams are the client's */
	enum ttrpc_type type;
	uint8_t flags;
};

/* -EPROTO for another type or an even stream. -E2BIG for a longer message: `out` says whose, so that it can
 * be skipped and refused. */
int ttrpc_header_decode(struct ttrpc_header *out, const uint8_t raw[static TTRPC_HEADER_SIZE], struct err *e);
void ttrpc_header_encode(const struct ttrpc_header *h, uint8_t raw[static TTRPC_HEADER_SIZE]);

struct ttrpc_request {
	char service[TTRPC_NAME_SIZE], method[TTRPC_NAME_SIZE];
	struct bytes payload; /* borrowed */
	uint64_t timeout_ns;  /* 0: none */
};

/* google.rpc.Code, as far as we say it. */
enum ttrpc_code {
	TTRPC_OK = 0,
	TTRPC_UNKNOWN = 2,
	TTRPC_INVALID_ARGUMENT = 3,
	TTRPC_DEADLINE_EXCEEDED = 4,
	TTRPC_NOT_FOUND = 5,
	TTRPC_ALREADY_EXISTS = 6,
	TTRPC_PERMISSION_DENIED = 7,
	TTRPC_RESOURCE_EXHAUSTED = 8,
	TTRPC_FAILED_PRECONDITION = 9,
	TTRPC_UNIMPLEMENTED = 12,
	TTRPC_INTERNAL = 13,
	TTRPC_UNAVAILABLE = 14,
	TTRPC_DATA_LOSS = 15,
};

/* The code that tells a caller of a failure of ours (a negative errno), and the negative errno that a code of
 * another stands for; what has no counterpart is TTRPC_INTERNAL and -EREMOTEIO. */
enum ttrpc_code ttrpc_code_of(int error);
int ttrpc_error_of(uint64_t code);

struct ttrpc_response {
	uint64_t code;		  /* 0: it worked */
	char words[ERR_TEXT_MAX]; /* of a failure; cut */
	struct bytes payload;	  /* borrowed */
};

/* Metadata and unknown fields are passed over. -EPROTO, -E2BIG. */
int ttrpc_request_decode(struct ttrpc_request *out, const void *p, size_t n, struct err *e);
int ttrpc_response_decode(struct ttrpc_response *out, const void *p, size_t n, struct err *e);
void ttrpc_request_encode(struct buf *to, const struct ttrpc_request *r);
void ttrpc_response_encode(struct buf *to, const struct ttrpc_response *r);

#endif
