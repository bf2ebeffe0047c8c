/* SPDX-License-Identifier: Apache-2.0
 * A thread accepts connections, and joins those that have ended. */
#include "guestfs/pods/relay_internal.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* What the wake counts up to when it is not a connection that has ended. */
#define STOP (UINT64_C(1) << 32)

void relay_note_end(struct connection *c)
{
	struct relay *r = c->relay;

	pthread_mutex_lock(&r->lock);
	c->ended = true;
	pthread_mutex_unlock(&r->lock);
	(void)eventfd_write(r->wake, 1);
}

/* Join the connections that have ended, or all of them. */
static void reap(struct relay *r, bool all)
{
	struct connection *c;

	do {
		pthread_mutex_lock(&r->lock);
		LIST_FOREACH(c, &r->connections, entry)
		if (c->ended || all)
			break;
		if (c) {
			LIST_REMOVE(c, entry);
			r->n_connections--;
		}
		pthread_mutex_unlock(&r->lock);
		if (c)
			connection_join(c);
	} while (c);
}

/* Only this thread adds and removes. A connection may end before it is in the list: it is reaped next time.
 */
static void add(struct relay *r, int fd)
{
	struct connection *c;

	if (r->n_connections == RELAY_CONNECTIONS) {
		(void)close(fd);
		log_warn("a connection is refused: there are %u", RELAY_CONNECTIONS);
		return;
	}
	c = connection_start(r, fd);
	if (!c) {
		log_warn("a connection is refused: out of memory");
		return;
	}
	pthread_mutex_lock(&r->lock);
	LIST_INSERT_HEAD(&r->connections, c, entry);
	r->n_connections++;
	pthread_mutex_unlock(&r->lock);
}

static void *accept_thread(void *arg)
{
	struct relay *r = arg;
	struct pollfd p[2] = {{.fd = r->listener, .events = POLLIN}, {.fd = r->wake, .events = POLLIN}};

	for (;;) {
		eventfd_t woken = 0;
		int fd;

		(void)poll(p, 2, -1);
		if (p[1].revents && eventfd_read(r->wake, &woken) == 0 && woken >= STOP)
			return NULL;
		reap(r, false);
		if (!(p[0].revents & POLLIN))
			continue;
		fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			add(r, fd);
	}
}

int relay_start(struct relay **out, int listener, const struct relay_options *options, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->options = *options;
	r->listener = listener;
	LIST_INIT(&r->connections);
	pthread_mutex_init(&r->lock, NULL);
	r->wake = eventfd(0, EFD_CLOEXEC);
	code = r->wake < 0 ? -errno : -pthread_create(&r->thread, NULL, accept_thread, r);
	if (code < 0) {
		if (r->wake >= 0)
			(void)close(r->wake);
		pthread_mutex_destroy(&r->lock);
		free(r);
		return err_errno(e, code, "starting the relay");
	}
	*out = r;
	return 0;
}

void relay_stop(struct relay *r)
{
	if (!r)
		return;
	(void)eventfd_write(r->wake, STOP);
	pthread_join(r->thread, NULL);
	reap(r, true);
	(void)close(r->wake);
	pthread_mutex_destroy(&r->lock);
	free(r);
}
