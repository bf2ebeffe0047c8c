/* SPDX-License-Identifier: Apache-2.0
 * Calls that never block, and poll(2) in between. */
#include "guestfs/wire_stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static int wait_fd(int fd, short events, const struct deadline *deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r;

	do {
		r = poll(&p, 1, deadline ? deadline_left_ms(deadline) : -1);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r == 0 && deadline_passed(deadline) ? -ETIMEDOUT : 0;
}

int stream_receive_some(int fd, void *to, size_t n, size_t *got, const struct deadline *deadline)
{
	for (;;) {
		ssize_t r = recv(fd, to, n, MSG_DONTWAIT);
		int w;

		if (r > 0) {
			*got = (size_t)r;
			return 0;
		}
		if (r == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		w = wait_fd(fd, POLLIN, deadline);
		if (w < 0)
			return w;
	}
}

int stream_receive(int fd, void *to, size_t n, const struct deadline *deadline)
{
	uint8_t *p = to;
	size_t got;

	for (; n > 0; p += got, n -= got) {
		int r = stream_receive_some(fd, p, n, &got, deadline);

		if (r < 0)
			return r;
	}
	return 0;
}

int stream_send(int fd, const uint8_t *p, size_t n, const struct deadline *deadline)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r;

		if (sent >= 0) {
			p += sent;
			n -= (size_t)sent;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_fd(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

int stream_connected(int fd, const struct deadline *deadline)
{
	socklen_t size = sizeof(int);
	int error = 0, r = wait_fd(fd, POLLOUT, deadline);

	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
		r = -error;
	return r;
}
