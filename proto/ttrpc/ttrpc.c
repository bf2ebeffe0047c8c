/* SPDX-License-Identifier: Apache-2.0
 * Headers and envelopes. A field that comes twice counts the last time, as protocol buffers have it. */
#include "proto/ttrpc/ttrpc.h"
#include "proto/ttrpc/protobuf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Field numbers of ttrpc's request.proto and google/rpc/status.proto. */
enum { REQUEST_SERVICE = 1, REQUEST_METHOD, REQUEST_PAYLOAD, REQUEST_TIMEOUT };
enum { RESPONSE_STATUS = 1, RESPONSE_PAYLOAD };
enum { STATUS_CODE = 1, STATUS_MESSAGE };

/* Several errors may be one code; the first of them is what the code means to us. */
static const struct {
	int error;
	enum ttrpc_code code;
} codes[] = {
	{-EINVAL, TTRPC_INVALID_ARGUMENT},
	{-ETIMEDOUT, TTRPC_DEADLINE_EXCEEDED},
	{-ENOENT, TTRPC_NOT_FOUND},
	{-EEXIST, TTRPC_ALREADY_EXISTS},
	{-EACCES, TTRPC_PERMISSION_DENIED},
	{-ENOKEY, TTRPC_PERMISSION_DENIED},
	{-ENOMEM, TTRPC_RESOURCE_EXHAUSTED},
	{-ENOSPC, TTRPC_RESOURCE_EXHAUSTED},
	{-ENOTSUP, TTRPC_FAILED_PRECONDITION},
	{-ENOSYS, TTRPC_UNIMPLEMENTED},
	{-ECONNREFUSED, TTRPC_UNAVAILABLE},
	{-ECONNRESET, TTRPC_UNAVAILABLE},
	{-ECONNABORTED, TTRPC_UNAVAILABLE},
	{-EHOSTUNREACH, TTRPC_UNAVAILABLE},
	{-ENETUNREACH, TTRPC_UNAVAILABLE},
	{-ENODEV, TTRPC_UNAVAILABLE},
	{-EPIPE, TTRPC_UNAVAILABLE},
	{-EAGAIN, TTRPC_UNAVAILABLE},
	{-EREMOTEIO, TTRPC_UNAVAILABLE},
	{-EBADMSG, TTRPC_DATA_LOSS},
	{-EUCLEAN, TTRPC_DATA_LOSS},
	{-EPROTO, TTRPC_DATA_LOSS},
};

enum ttrpc_code ttrpc_code_of(int error)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].error == error)
			return codes[i].code;
	return TTRPC_INTERNAL;
}

int ttrpc_error_of(uint64_t code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].error;
	return -EREMOTEIO;
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

int ttrpc_header_decode(struct ttrpc_header *out, const uint8_t raw[static TTRPC_HEADER_SIZE], struct err *e)
{
	struct ttrpc_header h = {
		.size = get_be32(raw), .stream = get_be32(raw + 4), .type = raw[8], .flags = raw[9]};

	if (h.type < TTRPC_REQUEST || h.type > TTRPC_DATA)
		return err_set(e, -EPROTO, "ttrpc message of type %u", (unsigned)raw[8]);
	if (h.stream % 2 == 0)
		return err_set(e, -EPROTO, "ttrpc stream %u is not a client's", h.stream);
	*out = h;
	return h.size > TTRPC_MAX_DATA ? err_set(e, -E2BIG, "ttrpc message of %u bytes", h.size) : 0;
}

void ttrpc_header_encode(const struct ttrpc_header *h, uint8_t raw[static TTRPC_HEADER_SIZE])
{
	put_be32(raw, h->size);
	put_be32(raw + 4, h->stream);
	raw[8] = (uint8_t)h->type;
	raw[9] = h->flags;
}

/* A field that must be bytes. */
static int take_bytes(struct bytes *to, const struct protobuf_field *f, struct err *e)
{
	if (f->type != PROTOBUF_BYTES)
		return err_set(e, -EPROTO, "ttrpc field %u is not bytes", f->number);
	*to = f->bytes;
	return 0;
}

static int request_field(struct ttrpc_request *q, const struct protobuf_field *f, struct err *e)
{
	switch (f->number) {
	case REQUEST_SERVICE:
		return protobuf_text(q->service, sizeof(q->service), f, "ttrpc service", e);
	case REQUEST_METHOD:
		return protobuf_text(q->method, sizeof(q->method), f, "ttrpc method", e);
	case REQUEST_PAYLOAD:
		return take_bytes(&q->payload, f, e);
	case REQUEST_TIMEOUT:
		if (f->type != PROTOBUF_VARINT)
			return err_set(e, -EPROTO, "ttrpc timeout is not a number");
		q->timeout_ns = (int64_t)f->value > 0 ? f->value : 0;
		return 0;
	default:
		return 0;
	}
}

int ttrpc_request_decode(struct ttrpc_request *out, const void *p, size_t n, struct err *e)
{
	struct ttrpc_request q = {.payload = bytes_of(NULL, 0)};
	struct bytes b = bytes_of(p, n);
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&b, &f, e)) == 0) {
		r = request_field(&q, &f, e);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*out = q;
	return 0;
}

/* Words are for people: a control character becomes a question mark. */
static void take_words(char words[static ERR_TEXT_MAX], const struct protobuf_field *f)
{
	size_t n = f->bytes.left < ERR_TEXT_MAX - 1 ? f->bytes.left : ERR_TEXT_MAX - 1;

	for (size_t i = 0; i < n; i++)
		words[i] = f->bytes.at[i] < 0x20 || f->bytes.at[i] == 0x7f ? '?' : (char)f->bytes.at[i];
	words[n] = '\0';
}

static int status_decode(struct ttrpc_response *to, struct bytes b, struct err *e)
{
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&b, &f, e)) == 0) {
		if (f.number == STATUS_CODE && f.type == PROTOBUF_VARINT)
			to->code = f.value;
		else if (f.number == STATUS_MESSAGE && f.type == PROTOBUF_BYTES)
			take_words(to->words, &f);
		else if (f.number <= STATUS_MESSAGE)
			return err_set(e, -EPROTO, "ttrpc status field %u has another type", f.number);
	}
	return r < 0 ? r : 0;
}

int ttrpc_response_decode(struct ttrpc_response *out, const void *p, size_t n, struct err *e)
{
	struct ttrpc_response response = {.payload = bytes_of(NULL, 0)};
	struct bytes b = bytes_of(p, n), status;
	struct protobuf_field f;
	int r;

	while ((r = protobuf_next(&b, &f, e)) == 0) {
		if (f.number == RESPONSE_PAYLOAD)
			r = take_bytes(&response.payload, &f, e);
		else if (f.number == RESPONSE_STATUS)
			r = take_bytes(&status, &f, e) < 0 ? -EPROTO : status_decode(&response, status, e);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*out = response;
	return 0;
}

void ttrpc_request_encode(struct buf *to, const struct ttrpc_request *q)
{
	protobuf_put_bytes(to, REQUEST_SERVICE, q->service, strlen(q->service));
	protobuf_put_bytes(to, REQUEST_METHOD, q->method, strlen(q->method));
	protobuf_put_bytes(to, REQUEST_PAYLOAD, q->payload.at, q->payload.left);
	if (q->timeout_ns > 0)
		protobuf_put_varint(to, REQUEST_TIMEOUT, q->timeout_ns);
}

void ttrpc_response_encode(struct buf *to, const struct ttrpc_response *response)
{
	cleanup_buf struct buf status;

	buf_init(&status, ERR_TEXT_MAX + 32);
	if (response->code != TTRPC_OK) {
		protobuf_put_varint(&status, STATUS_CODE, response->code);
		protobuf_put_bytes(&status, STATUS_MESSAGE, response->words, strlen(response->words));
		to->failed |= buf_failed(&status);
		protobuf_put_bytes(to, RESPONSE_STATUS, status.data, status.size);
	}
	if (response->payload.left > 0)
		protobuf_put_bytes(to, RESPONSE_PAYLOAD, response->payload.at, response->payload.left);
}
