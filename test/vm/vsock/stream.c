/* SPDX-License-Identifier: Apache-2.0
 * Bytes from the guest go straight to the unix socket, and into a buffer of the promised size when that is
 * full; bytes from the unix socket go straight into the guest's buffers, as far as its credit reaches. */
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST 64 /* packets in a row, then the others have their turn */
#define SHUT_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

struct stream *stream_new(int fd, int epoll, enum stream_state state, const struct stream_ops *ops, void *arg)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};

	if (!s || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(s);
		(void)close(fd);
		return NULL;
	}
	s->fd = fd;
	s->epoll = epoll;
	s->events = EPOLLIN;
	s->state = state;
	s->ops = ops;
	s->arg = arg;
	return s;
}

static void leave_unix(struct stream *s)
{
	if (s->fd >= 0)
		(void)close(s->fd); /* which also ends epoll's interest */
	s->fd = -1;
	s->pending_size = 0;
}

void stream_free(struct stream *s)
{
	leave_unix(s);
	free(s->pending);
	free(s);
}

static void die(struct stream *s)
{
	leave_unix(s);
	s->state = STREAM_DEAD;
}

/* The unix side failed. */
static void reset(struct stream *s)
{
	if (s->state != STREAM_LINE)
		s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_RST, 0);
	die(s);
}

static uint32_t credit(const struct stream *s)
{
	uint32_t under_way = s->sent - s->guest_passed;

	return under_way < s->guest_buffer ? s->guest_buffer - under_way : 0;
}

static bool wants_to_read(const struct stream *s)
{
	return s->state == STREAM_LINE ||
	       (s->state == STREAM_OPEN && !s->ended && !s->guest_deaf && credit(s) > 0);
}

static void watch(struct stream *s, bool room)
{
	struct epoll_event event = {.data.ptr = s};

	if (s->fd < 0)
		return;
	event.events = (room && wants_to_read(s) ? EPOLLIN : 0u) | (s->pending_size > 0 ? EPOLLOUT : 0u);
	if (event.events == s->events)
		return;
	s->events = event.events;
	(void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->fd, &event);
}

/* Tell the guest what was passed on, once a good part of what it knows is stale. */
static void tell_credit(struct stream *s)
{
	if (s->state == STREAM_OPEN && s->passed - s->told >= STREAM_BUFFER / 4)
		s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
}

/* The guest's end of sending reaches the unix side behind the last byte. */
static void finish(struct stream *s)
{
	if (s->state != STREAM_OPEN || s->pending_size > 0 || !s->guest_ended)
		return;
	if (s->guest_deaf)
		reset(s);
	else if (s->fd >= 0)
		(void)shutdown(s->fd, SHUT_WR);
}

static void flush(struct stream *s)
{
	while (s->pending_size > 0) {
		ssize_t n =
			send(s->fd, s->pending + s->pending_at, s->pending_size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			reset(s);
			return;
		}
		s->pending_at += (size_t)n;
		s->pending_size -= (size_t)n;
		s->passed += (uint32_t)n;
	}
	tell_credit(s);
	finish(s);
}

static void keep(struct stream *s, const struct chain *c, size_t at, size_t n)
{
	if (!s->pending)
		s->pending = malloc(STREAM_BUFFER);
	if (!s->pending || n > STREAM_BUFFER - s->pending_size) { /* more than it was allowed */
		reset(s);
		return;
	}
	if (s->pending_size > 0 && s->pending_at > 0)
		memmove(s->pending, s->pending + s->pending_at, s->pending_size);
	s->pending_at = 0;
	s->pending_size += chain_read(c, at, s->pending + s->pending_size, n);
}

static void bytes_from_guest(struct stream *s, const struct chain *c, size_t n)
{
	struct iovec v[CHAIN_PARTS_MAX];
	struct msghdr msg = {.msg_iov = v};
	size_t at = sizeof(struct virtio_vsock_hdr), end = at + n;

	if (s->state != STREAM_OPEN) {
		reset(s);
		return;
	}
	if (s->fd < 0)
		return; /* nobody is there to read them */
	if (s->pending_size == 0 && n > 0) {
		ssize_t done;

		msg.msg_iovlen = (size_t)chain_slice(c, at, n, v);
		done = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (done < 0 && errno != EAGAIN) {
			reset(s);
			return;
		}
		if (done > 0) {
			s->passed += (uint32_t)done;
			at += (size_t)done;
		}
	}
	if (at < end)
		keep(s, c, at, end - at);
	tell_credit(s);
}

static void accepted(struct stream *s)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "OK %u\n", s->host_port);

	if (s->state != STREAM_ASKED)
		return;
	s->state = STREAM_OPEN;
	if (send(s->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		reset(s);
}

void stream_packet(struct stream *s, const struct virtio_vsock_hdr *h, const struct chain *c)
{
	s->guest_buffer = h->buf_alloc;
	s->guest_passed = h->fwd_cnt;
	s->asked_credit = false;
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		accepted(s);
		break;
	case VIRTIO_VSOCK_OP_RST:
		die(s);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		s->guest_deaf |= (h->flags & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0;
		s->guest_ended |= (h->flags & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
		finish(s);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		break;
	case VIRTIO_VSOCK_OP_RW:
		bytes_from_guest(s, c, h->len);
		break;
	default:
		break;
	}
	watch(s, true);
}

/* "CONNECT port\n", byte by byte: what follows belongs to the guest. */
static void read_line(struct stream *s, uint32_t *next_port)
{
	char c;

	while (read(s->fd, &c, 1) == 1) {
		if (c != '\n' && s->line_size < sizeof(s->line) - 1) {
			s->line[s->line_size++] = c;
			continue;
		}
		if (c != '\n' || sscanf(s->line, "CONNECT %u", &s->guest_port) != 1) {
			die(s);
			return;
		}
		s->host_port = (*next_port)++;
		s->state = STREAM_ASKED;
		s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_REQUEST, 0);
		return;
	}
	if (errno != EAGAIN)
		die(s);
}

/* False: there was no room. */
static bool bytes_to_guest(struct stream *s)
{
	for (int i = 0; i < BURST && s->state == STREAM_OPEN && !s->ended; i++) {
		size_t most = credit(s), header = sizeof(struct virtio_vsock_hdr);
		struct iovec v[CHAIN_PARTS_MAX];
		struct chain c;
		ssize_t n;

		if (most == 0) {
			if (!s->asked_credit)
				s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
			s->asked_credit = true;
			return true;
		}
		if (s->ops->room(s->arg, &c) != 0)
			return false;
		if (most > c.size - header)
			most = c.size - header;
		n = readv(s->fd, v, chain_slice(&c, header, most, v));
		if (n < 0) {
			if (errno != EAGAIN)
				reset(s);
			return true;
		}
		s->ended = n == 0;
		if (n > 0) {
			s->sent += (uint32_t)n;
			s->ops->send(s->arg, s, &c, (size_t)n);
		}
		if ((size_t)n < most)
			return true;
	}
	return true;
}

/* The unix side's end, half or whole. A hang-up cannot be masked in epoll, so the descriptor is closed then;
 * the guest answers with a reset. */
static void tell_end(struct stream *s, bool gone)
{
	if (s->state != STREAM_OPEN || !s->ended || s->told_gone || (s->told_ended && !gone))
		return;
	s->told_ended = true;
	s->told_gone = gone;
	s->ops->control(s->arg, s, VIRTIO_VSOCK_OP_SHUTDOWN, gone ? SHUT_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (gone)
		leave_unix(s);
}

void stream_ready(struct stream *s, uint32_t events, uint32_t *next_port)
{
	bool room = true;

	if (s->fd < 0)
		return;
	if (s->state == STREAM_LINE) {
		read_line(s, next_port);
		watch(s, true);
		return;
	}
	if (events & EPOLLOUT)
		flush(s);
	if (s->state == STREAM_ASKED && (events & (EPOLLHUP | EPOLLERR)))
		reset(s);
	if (s->state == STREAM_OPEN && (events & (EPOLLIN | EPOLLHUP)) && !s->guest_deaf)
		room = bytes_to_guest(s);
	if (s->state == STREAM_OPEN && s->guest_deaf && (events & EPOLLHUP))
		s->ended = true;
	tell_end(s, (events & (EPOLLHUP | EPOLLERR)) != 0);
	watch(s, room);
}

void stream_resume(struct stream *s)
{
	watch(s, true);
}
