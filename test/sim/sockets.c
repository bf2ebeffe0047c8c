/* SPDX-License-Identifier: Apache-2.0
 * Sockets between guest and host in memory: unix and vsock streams, one listener, one eventfd. */
#include "network.h"

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BACKLOG 256u
#define GUEST_CID 3

struct stream_socket {
	struct file file;
	int fd, family;
	bool nonblock, shut;
	struct link *link; /* NULL: not connected */
	int end;
	int64_t send_timeout; /* negative: none */
	/* a listener */
	bool listening;
	struct link *backlog[MAX_BACKLOG];
	unsigned int n_backlog;
};

struct event_counter {
	struct file file;
	int fd;
	uint64_t value;
};

static struct stream_socket *listener;

static bool in_backlog(const struct link *l)
{
	for (unsigned int i = 0; listener && i < listener->n_backlog; i++)
		if (listener->backlog[i] == l)
			return true;
	return false;
}

static void socket_close(struct file *f, int fd)
{
	struct stream_socket *s = (struct stream_socket *)f;

	(void)fd;
	trace("close", s->link ? s->link->number : 0, f->side);
	if (s->listening) {
		listener = NULL;
		for (unsigned int i = 0; i < s->n_backlog; i++) {
			struct link *l = s->backlog[i];

			lane_end(l, TO_GUEST, sim_now(), ECONNRESET);
			l->lanes[TO_HOST].deaf = true;
			if (!l->fds[0])
				link_free(l);
		}
	} else if (s->link) {
		struct link *l = s->link;

		link_leave(l, s->end);
		l->fds[s->end] = 0;
		if (!l->fds[1 - s->end] && !in_backlog(l))
			link_free(l);
	}
	own_free(s);
}

static const struct file_ops socket_ops = {socket_close};

static struct stream_socket *socket_of(int fd)
{
	return (struct stream_socket *)file_of(fd, &socket_ops);
}

static struct stream_socket *new_socket(int family, bool nonblock)
{
	struct stream_socket *s = own_alloc(sizeof(*s));

	*s = (struct stream_socket){.file = {&socket_ops, sim_side()},
				    .family = family,
				    .nonblock = nonblock,
				    .send_timeout = -1};
	s->fd = file_add(&s->file);
	if (s->fd < 0) {
		own_free(s);
		return NULL;
	}
	return s;
}

int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	struct stream_socket *s = new_socket(family, (type & SOCK_NONBLOCK) != 0);

	(void)protocol;
	return s ? s->fd : -1;
}

int __wrap_bind(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_bind(int fd, const struct sockaddr *a, socklen_t n)
{
	(void)a, (void)n;
	return socket_of(fd) ? 0 : -1;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	(void)backlog;
	sim_check(!listener, "two hosts listen");
	listener = socket_of(fd);
	if (!listener)
		return -1;
	listener->listening = true;
	return 0;
}

static int refuse(const int *reasons, uint32_t n)
{
	errno = reasons[dice_below(OF_LINK, n)];
	trace("refused", errno, 0);
	return -1;
}

int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n);
int __wrap_connect(int fd, const struct sockaddr *a, socklen_t n)
{
	static const int unix_reasons[] = {ECONNREFUSED, EAGAIN, ENOENT, EINTR};
	static const int vsock_reasons[] = {ECONNRESET, ETIMEDOUT, ENODEV, EINTR};
	struct stream_socket *s = socket_of(fd);
	int64_t made_at = sim_now();
	struct link *l;

	(void)a, (void)n;
	sim_preempt();
	if (!s)
		return -1;
	if (!plan.healed && dice_chance(OF_LINK, plan.refuse)) {
		totals.faults++;
		return refuse(s->family == AF_UNIX ? unix_reasons : vsock_reasons, 4);
	}
	if (!listener || listener->n_backlog == MAX_BACKLOG)
		return refuse(s->family == AF_UNIX ? unix_reasons : vsock_reasons,
			      s->family == AF_UNIX ? 3 : 1);
	if (s->family != AF_UNIX)
		made_at += network_is_dark() ? 3600 * SECOND : plan.latency;
	l = link_new(fd, made_at);
	s->link = l;
	s->end = 0;
	listener->backlog[listener->n_backlog++] = l;
	sim_wake_fd(listener->fd);
	trace("connect", l->number, 0);
	if (s->family == AF_UNIX)
		return 0;
	errno = EINPROGRESS;
	return -1;
}

int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *peer, socklen_t *size, int flags)
{
	struct stream_socket *s = socket_of(fd), *made;
	struct link *l;

	(void)flags;
	sim_preempt();
	if (!s)
		return -1;
	if (s->n_backlog == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (!plan.healed && dice_chance(OF_LINK, plan.accept_fails)) {
		static const int reasons[] = {EINTR, ECONNABORTED, EMFILE};

		totals.faults++;
		return refuse(reasons, 3);
	}
	l = s->backlog[0];
	made = new_socket(s->family, false);
	if (!made)
		return -1;
	memmove(&s->backlog[0], &s->backlog[1], --s->n_backlog * sizeof(s->backlog[0]));
	l->fds[1] = made->fd;
	made->link = l;
	made->end = 1;
	if (s->family == AF_VSOCK) {
		const struct sockaddr_vm guest = {.svm_family = AF_VSOCK, .svm_cid = GUEST_CID};

		memcpy(peer, &guest, sizeof(guest));
		*size = sizeof(guest);
	} else {
		peer->sa_family = (sa_family_t)s->family;
		*size = sizeof(sa_family_t);
	}
	trace("accept", l->number, 0);
	return made->fd;
}

int __wrap_getpeername(int fd, struct sockaddr *a, socklen_t *n);
int __wrap_getpeername(int fd, struct sockaddr *a, socklen_t *n)
{
	const struct stream_socket *s = socket_of(fd);

	if (!s)
		return -1;
	a->sa_family = (sa_family_t)s->family;
	*n = sizeof(sa_family_t);
	return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *n)
{
	struct stream_socket *s = socket_of(fd);

	sim_check(s && level == SOL_SOCKET && (name == SO_ERROR || name == SO_PEERCRED), "getsockopt %d %d",
		  level, name);
	if (name == SO_PEERCRED) {
		memset(value, 0, *n); /* the guest is root's */
		return 0;
	}
	*(int *)value = s->link && s->link->lanes[TO_GUEST].error ? s->link->lanes[TO_GUEST].error : 0;
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
	struct stream_socket *s = socket_of(fd);
	struct timeval t;

	sim_check(s && level == SOL_SOCKET && name == SO_SNDTIMEO && n == sizeof(t), "setsockopt %d %d",
		  level, name);
	memcpy(&t, value, sizeof(t));
	s->send_timeout = t.tv_sec * SECOND + t.tv_usec * US;
	return 0;
}

int __wrap_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how)
{
	struct stream_socket *s = socket_of(fd);

	sim_check(how == SHUT_RDWR, "shutdown %d", how);
	if (!s || !s->link) {
		errno = ENOTCONN;
		return -1;
	}
	if (!s->shut)
		link_leave(s->link, s->end);
	s->shut = true;
	sim_wake_fd(fd);
	return 0;
}

/* A chance in a thousand each that a call that could go on does not. */
static bool disturbed(bool again)
{
	if (dice_chance(OF_LINK, plan.interrupted)) {
		errno = EINTR;
		return true;
	}
	if (again && dice_chance(OF_LINK, plan.again)) {
		errno = EAGAIN;
		return true;
	}
	return false;
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
	struct stream_socket *s = socket_of(fd);
	struct lane *in;
	ssize_t there;
	int64_t next;

	sim_preempt();
	sim_pass(US);
	sim_check(s && s->link && (flags & MSG_DONTWAIT), "recv %d", fd);
	if (disturbed(true))
		return -1;
	if (s->shut)
		return 0;
	in = &s->link->lanes[1 - s->end];
	there = lane_look(in, &next);
	if (there == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (there < 0) {
		trace("end", s->link->number, in->error);
		errno = in->error;
		return in->error ? -1 : 0;
	}
	if ((size_t)there < n)
		n = (size_t)there;
	if (n > 1 && dice_chance(OF_LINK, plan.short_io))
		n = 1 + dice_below(OF_LINK, (uint32_t)n - 1);
	trace("recv", s->link->number * 2 + s->end, (int64_t)n);
	trace_bytes(in->current->data + in->current->taken, n < 16 ? n : 16);
	lane_take(in, to, n);
	link_wake(s->link);
	return (ssize_t)n;
}

ssize_t __wrap___recv_chk(int fd, void *to, size_t n, size_t room, int flags);
ssize_t __wrap___recv_chk(int fd, void *to, size_t n, size_t room, int flags)
{
	sim_check(n <= room, "recv of %zu bytes into %zu", n, room);
	return __wrap_recv(fd, to, n, flags);
}

static bool can_write(const struct stream_socket *s)
{
	const struct lane *out = &s->link->lanes[s->end];

	return s->shut || out->deaf || out->closed || out->silent || out->pending < plan.window;
}

static ssize_t send_some(struct stream_socket *s, const void *p, size_t n)
{
	struct lane *out = &s->link->lanes[s->end];

	if (sim_now() < s->link->made_at) {
		errno = ENOTCONN;
		return -1;
	}
	if (s->shut || out->deaf || out->closed) {
		errno = dice_chance(OF_LINK, 500) ? EPIPE : ECONNRESET;
		return -1;
	}
	if (!out->silent) {
		size_t room = plan.window - out->pending;

		if (n > room)
			n = room;
		if (n > 1 && dice_chance(OF_LINK, plan.short_io))
			n = 1 + dice_below(OF_LINK, (uint32_t)n - 1);
		link_write(s->link, s->end, p, n);
	}
	trace("send", s->link->number * 2 + s->end, (int64_t)n);
	return (ssize_t)n;
}

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
	struct stream_socket *s = socket_of(fd);
	bool waits = s && !s->nonblock && !(flags & MSG_DONTWAIT);
	int64_t until = s && s->send_timeout >= 0 ? sim_now() + s->send_timeout : -1;

	sim_preempt();
	sim_pass(US);
	sim_check(s && s->link, "send %d", fd);
	sim_check(flags & MSG_NOSIGNAL, "send without MSG_NOSIGNAL");
	if (disturbed(!waits))
		return -1;
	while (!can_write(s)) {
		const struct pollfd x = {.fd = fd, .events = POLLOUT};

		if (!waits || (!sim_wait_fds(&x, 1, until) && sim_now() >= until)) {
			errno = EAGAIN;
			return -1;
		}
	}
	return send_some(s, p, n);
}

ssize_t __wrap_sendfile64(int to, int from, off_t *at, size_t n);
ssize_t __wrap_sendfile64(int to, int from, off_t *at, size_t n)
{
	uint8_t piece[16384];
	size_t got = disk_read(from, piece, n < sizeof(piece) ? n : sizeof(piece), (uint64_t)*at);
	ssize_t r = got ? __wrap_send(to, piece, got, MSG_NOSIGNAL) : 0;

	if (r > 0)
		*at += r;
	return r;
}

static void event_close(struct file *f, int fd)
{
	(void)fd;
	own_free(f);
}

static const struct file_ops event_ops = {event_close};

int __wrap_eventfd(unsigned int value, int flags);
int __wrap_eventfd(unsigned int value, int flags)
{
	struct event_counter *c = own_alloc(sizeof(*c));

	(void)flags;
	*c = (struct event_counter){.file = {&event_ops, sim_side()}, .value = value};
	c->fd = file_add(&c->file);
	return c->fd;
}

int __wrap_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value)
{
	struct event_counter *c = (struct event_counter *)file_of(fd, &event_ops);

	if (!c)
		return -1;
	c->value += value;
	sim_wake_fd(fd);
	return 0;
}

/* What poll(2) would say of it now, and when that may change by itself. */
static short look_at(const struct pollfd *p, int64_t *next)
{
	struct file *f = file_of(p->fd, NULL);
	short seen = 0;

	*next = -1;
	if (f && f->ops == &event_ops)
		return ((struct event_counter *)f)->value ? POLLIN : 0;
	if (f && f->ops == &socket_ops) {
		struct stream_socket *s = (struct stream_socket *)f;

		if (s->listening)
			return s->n_backlog ? POLLIN : 0;
		if (!s->link)
			return POLLHUP;
		if (s->shut || lane_look(&s->link->lanes[1 - s->end], next) != 0)
			seen |= POLLIN;
		if (sim_now() >= s->link->made_at && can_write(s))
			seen |= POLLOUT;
		else if (sim_now() < s->link->made_at && (*next < 0 || s->link->made_at < *next))
			*next = s->link->made_at;
		return seen & p->events;
	}
	return POLLNVAL;
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int64_t until = timeout < 0 ? -1 : sim_now() + timeout * MS;

	sim_preempt();
	sim_pass(US);
	if (disturbed(false))
		return -1;
	for (;;) {
		int64_t first = until;
		int ready = 0;

		for (nfds_t i = 0; i < n; i++) {
			int64_t next;

			fds[i].revents = look_at(&fds[i], &next);
			ready += fds[i].revents != 0;
			if (next >= 0 && (first < 0 || next < first))
				first = next;
		}
		if (ready > 0 || (until >= 0 && sim_now() >= until))
			return ready;
		(void)sim_wait_fds(fds, n, first);
	}
}

int __wrap___poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __wrap___poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	sim_check(n * sizeof(*fds) <= room, "poll of too many");
	return __wrap_poll(fds, n, timeout);
}

/* After a run that ended anywhere. */
void sockets_reset(void)
{
	listener = NULL;
}
