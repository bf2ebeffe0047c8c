/* SPDX-License-Identifier: Apache-2.0
 * Calls that never block, and poll(2) in between. A plain stream answers in the words of TLS: done, or what
 * to wait for. */
#include "guestfs/wire_stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

int stream_open(struct stream *out, int fd, const struct tls_endpoint *tls, struct err *e)
{
	struct stream s = {.fd = fd};
	int r = tls ? tls_new(&s.tls, tls, fd) : 0;

	if (r < 0) {
		(void)close(fd);
		return err_set(e, r, "out of memory");
	}
	*out = s;
	return 0;
}

void stream_close(struct stream *s)
{
	tls_free(s->tls);
	(void)close(s->fd);
}

static int wait_for(const struct stream *s, int want, const struct deadline *deadline)
{
	struct pollfd p = {.fd = s->fd, .events = want == TLS_WANT_READ ? POLLIN : POLLOUT};
	int r;

	/* a peer that always has something to say, and never what is wanted, must not outlast the deadline */
	if (s->tls && deadline && deadline_passed(deadline))
		return -ETIMEDOUT;
	do {
		r = poll(&p, 1, deadline ? deadline_left_ms(deadline) : -1);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 && deadline_passed(deadline) ? -ETIMEDOUT : 0;
}

static int receive_now(const struct stream *s, void *to, size_t n, size_t *got)
{
	ssize_t r;

	if (s->tls)
		return tls_receive(s->tls, to, n, got);
	r = recv(s->fd, to, n, MSG_DONTWAIT);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? TLS_WANT_READ : -errno;
	*got = (size_t)r;
	return r == 0 ? -ECONNRESET : 0;
}

static int send_now(const struct stream *s, const uint8_t *p, size_t n, size_t *sent)
{
	ssize_t r;

	if (s->tls)
		return tls_send(s->tls, p, n, sent);
	r = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r < 0)
		return errno == EAGAIN || errno == EINTR ? TLS_WANT_WRITE : -errno;
	*sent = (size_t)r;
	return 0;
}

int stream_receive_some(const struct stream *s, void *to, size_t n, size_t *got,
			const struct deadline *deadline)
{
	int r;

	while ((r = receive_now(s, to, n, got)) > 0) {
		r = wait_for(s, r, deadline);
		if (r < 0)
			break;
	}
	return r;
}

int stream_receive(const struct stream *s, void *to, size_t n, const struct deadline *deadline)
{
	uint8_t *p = to;
	size_t got;

	for (; n > 0; p += got, n -= got) {
		int r = stream_receive_some(s, p, n, &got, deadline);

		if (r < 0)
			return r;
	}
	return 0;
}

int stream_send(const struct stream *s, const uint8_t *p, size_t n, const struct deadline *deadline)
{
	while (n > 0) {
		size_t sent = 0;
		int r = send_now(s, p, n, &sent);

		if (r > 0)
			r = wait_for(s, r, deadline);
		if (r < 0)
			return r;
		p += sent;
		n -= sent;
	}
	return 0;
}

int stream_connected(const struct stream *s, const struct deadline *deadline, struct err *e)
{
	socklen_t size = sizeof(int);
	int error = 0, r = wait_for(s, TLS_WANT_WRITE, deadline);

	if (r == 0 && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
		r = -error;
	if (r < 0 || !s->tls)
		return r < 0 ? err_errno(e, r, "connecting to the host") : 0;
	while ((r = tls_handshake(s->tls, e)) > 0) {
		r = wait_for(s, r, deadline);
		if (r < 0)
			return err_errno(e, r, "connecting to the host with TLS");
	}
	return r < 0 ? err_prefix(e, r, "connecting to the host") : 0;
}
