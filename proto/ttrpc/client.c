/* SPDX-License-Identifier: Apache-2.0
 * Time-outs are the socket's own (SO_RCVTIMEO), set while system calls are still free: who asks for a key may
 * have given them up since. */
#include "proto/ttrpc/client.h"
#include "proto/base/cleanup.h"
#include "proto/ttrpc/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

int ttrpc_client_open(struct ttrpc_client *out, const struct address *address, unsigned int timeout_ms,
		      struct err *e)
{
	const struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
	cleanup_close int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, &address->sa, address->size) < 0)
		return err_errno(e, -errno, "connecting");
	*out = (struct ttrpc_client){.fd = take_fd(&fd), .stream = 1, .timeout_ms = timeout_ms};
	return 0;
}

void ttrpc_client_close(struct ttrpc_client *c)
{
	if (c->fd >= 0)
		(void)close(take_fd(&c->fd));
}

static int send_request(const struct ttrpc_client *c, const char *service, const char *method,
			struct bytes payload)
{
	struct ttrpc_header h = {.stream = c->stream, .type = TTRPC_REQUEST};
	struct ttrpc_request q = {.payload = payload, .timeout_ns = UINT64_C(1000000) * c->timeout_ms};
	cleanup_buf struct buf b = {.max = TTRPC_MAX_DATA, .secret = true};

	(void)snprintf(q.service, sizeof(q.service), "%s", service);
	(void)snprintf(q.method, sizeof(q.method), "%s", method);
	ttrpc_request_encode(&b, &q);
	h.size = (uint32_t)b.size;
	return buf_failed(&b) ? -E2BIG : ttrpc_frame_write(c->fd, &h, b.data);
}

static int take_answer(const struct ttrpc_client *c, const struct ttrpc_frame *f, struct buf *reply,
		       struct err *e)
{
	struct ttrpc_response response;
	int r;

	if (f->header.type != TTRPC_RESPONSE || f->header.stream != c->stream)
		return err_set(e, -EPROTO, "an answer to something else");
	r = ttrpc_response_decode(&response, f->payload, f->header.size, e);
	if (r < 0)
		return r;
	if (response.code != TTRPC_OK)
		return err_set(e, ttrpc_error_of(response.code), "%s", response.words);
	buf_put(reply, response.payload.at, response.payload.left);
	return buf_failed(reply) ? err_set(e, -E2BIG, "an answer of %zu bytes", response.payload.left) : 0;
}

int ttrpc_client_call(struct ttrpc_client *c, const char *service, const char *method, struct bytes payload,
		      struct buf *reply, struct err *e)
{
	__attribute__((cleanup(ttrpc_frame_deinit))) struct ttrpc_frame f = {.payload = NULL};
	int r = send_request(c, service, method, payload);

	if (r == 0)
		r = ttrpc_frame_read(c->fd, &f);
	if (r == -EAGAIN)
		return err_set(e, -ETIMEDOUT, "no answer within %u s", c->timeout_ms / 1000);
	if (r == -ENODATA || r == -EPIPE || r == -ECONNRESET)
		return err_set(e, -ECONNRESET, "the connection has ended");
	if (r < 0)
		return err_errno(e, r, "no answer");
	r = take_answer(c, &f, reply, e);
	c->stream += 2;
	return r;
}
