/* SPDX-License-Identifier: Apache-2.0
 * A plain stream is sent pages of a file as they lie in the page cache; with TLS they pass through a buffer
 * of one record. */
#include "chunkstore/guest_stream.h"
#include "chunkstore/clock.h"
#include "proto/base/io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define RECORD_SIZE 16384u /* the most that one of TLS holds */

int guest_stream_open(struct guest_stream *s, int fd, const struct tls_endpoint *tls, unsigned stall_ms)
{
	struct timeval stall = {.tv_sec = stall_ms / 1000, .tv_usec = stall_ms % 1000 * 1000};
	int r = 0;

	*s = (struct guest_stream){.fd = fd, .stall_ms = stall_ms};
	if (tls) {
		s->record = malloc(RECORD_SIZE);
		r = s->record ? tls_new(&s->tls, tls, fd) : -ENOMEM;
	}
	if (r < 0)
		guest_stream_close(s);
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall));
	return r;
}

void guest_stream_close(struct guest_stream *s)
{
	tls_free(s->tls);
	free(s->record);
	(void)close(s->fd);
}

/* 0, -ETIMEDOUT or -errno. */
static int wait_for(const struct guest_stream *s, int want, int timeout_ms)
{
	struct pollfd p = {.fd = s->fd, .events = want == TLS_WANT_READ ? POLLIN : POLLOUT};
	int r = poll(&p, 1, timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

int guest_stream_handshake(struct guest_stream *s, unsigned timeout_ms, struct err *e)
{
	int64_t end = now_ms() + timeout_ms, left;
	int r;

	while ((r = tls_handshake(s->tls, e)) > 0) {
		left = end - now_ms();
		r = left > 0 ? wait_for(s, r, (int)left) : -ETIMEDOUT;
		if (r < 0)
			return err_errno(e, r, "no TLS");
	}
	return r;
}

static int receive_now(struct guest_stream *s, void *to, size_t n, size_t *got)
{
	ssize_t r = recv(s->fd, to, n, MSG_DONTWAIT);

	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? TLS_WANT_READ : -errno;
	*got = (size_t)r;
	return r == 0 ? -ECONNRESET : 0;
}

int guest_stream_receive(struct guest_stream *s, void *to, size_t n, int timeout_ms, size_t *got)
{
	/* TLS may hold bytes that poll(2) knows nothing of */
	int r = s->tls ? tls_receive(s->tls, to, n, got) : TLS_WANT_READ;

	while (r > 0) {
		r = wait_for(s, r, timeout_ms);
		if (r == 0)
			r = s->tls ? tls_receive(s->tls, to, n, got) : receive_now(s, to, n, got);
	}
	return r;
}

static int send_plain(struct guest_stream *s, const uint8_t *p, size_t n, bool more)
{
	while (n > 0) {
		ssize_t r = send(s->fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

/* What waits in the record goes out. */
static int flush(struct guest_stream *s)
{
	size_t at = 0;

	while (at < s->used) {
		size_t sent = 0;
		int r = tls_send(s->tls, s->record + at, s->used - at, &sent);

		if (r > 0)
			r = wait_for(s, r, (int)s->stall_ms);
		if (r < 0)
			return r;
		at += sent;
	}
	s->used = 0;
	return 0;
}

static size_t room(const struct guest_stream *s, size_t n)
{
	return n < RECORD_SIZE - s->used ? n : RECORD_SIZE - s->used;
}

int guest_stream_send(struct guest_stream *s, const void *p, size_t n, bool more)
{
	const uint8_t *from = p;
	int r = 0;

	if (!s->tls)
		return send_plain(s, from, n, more);
	while (r == 0 && n > 0) {
		size_t part = room(s, n);

		memcpy(s->record + s->used, from, part);
		s->used += part;
		from += part;
		n -= part;
		if (s->used == RECORD_SIZE || !more)
			r = flush(s);
	}
	return r;
}

/* In TLS, or where the socket takes no pages of a file. */
static int copy_file(struct guest_stream *s, int file, size_t n, uint64_t offset)
{
	uint8_t piece[RECORD_SIZE];
	int r = 0;

	while (r == 0 && n > 0) {
		size_t part = s->tls ? room(s, n) : n < sizeof(piece) ? n : sizeof(piece);

		r = pread_full(file, piece, part, offset);
		if (r == 0)
			r = guest_stream_send(s, piece, part, n > part);
		n -= part;
		offset += part;
	}
	return r;
}

int guest_stream_send_file(struct guest_stream *s, int file, size_t n, uint64_t offset)
{
	off_t at = (off_t)offset;

	if (s->tls)
		return copy_file(s, file, n, offset);
	while (n > 0) {
		ssize_t r = sendfile(s->fd, file, &at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno == EINVAL || errno == ENOSYS))
			return copy_file(s, file, n, (uint64_t)at);
		if (r < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (r == 0)
			return -ENODATA;
		n -= (size_t)r;
	}
	return 0;
}
