/* SPDX-License-Identifier: Apache-2.0
 * One thread looks and accepts. Looking costs more with more machines: then it is done less often. Accepting
 * never waits for it, nor it for who connects all the time. */
#include "chunkstore/hybrid_sockets.h"
#include "chunkstore/clock.h"
#include "chunkstore/machine_socket.h"
#include "chunkstore/peer.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define MAX_MACHINES 8192u
#define MAX_EVENTS 64
#define MAX_ACCEPTS 16 /* of one machine before it is the others' turn */
#define LOOK_SHARE 4   /* of the time, looking takes one part */
#define MAX_TURN_MS 1000
#define NO_DESCRIPTORS_US 100000

struct machine {
	LIST_ENTRY(machine) entry;
	struct machine_socket socket;
	size_t prefix;
	bool seen; /* in this look */
	bool told; /* that it is there */
};

LIST_HEAD(machine_list, machine);

struct pattern {
	char *text;
	size_t prefix;
};

struct hybrid_sockets {
	struct chunk_server *server;
	struct pattern *patterns;
	size_t n_patterns;
	unsigned port;
	int wake, poll; /* an eventfd: stop; and an epoll of it and of all sockets */
	bool has_thread;
	pthread_t thread;
	/* the thread's own */
	struct machine_list machines;
	void *by_path; /* a tree of them */
	unsigned n_machines;
	bool full; /* which was told */
};

/* ---- Machines ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct machine *)a)->socket.path, ((const struct machine *)b)->socket.path);
}

static struct machine *find(struct hybrid_sockets *h, char *path)
{
	const struct machine key = {.socket = {.path = path}};
	void *found = tfind(&key, &h->by_path, compare);

	return found ? *(struct machine **)found : NULL;
}

/* Beside the machine's socket, whose directory was entered. What fails is told once, and tried again. */
static void serve(struct hybrid_sockets *h, struct machine *m)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};

	machine_socket_make(&m->socket);
	if (m->socket.fd >= 0 && epoll_ctl(h->poll, EPOLL_CTL_ADD, m->socket.fd, &event) < 0)
		machine_socket_remove(&m->socket);
	if (m->told || !chunk_server_may_log(h->server))
		return;
	m->told = true;
	if (m->socket.fd >= 0)
		log_info("machine found socket=%s uid=%u", m->socket.path,
			 (unsigned)m->socket.machine.st_uid);
	else
		log_warn("no socket for a machine path=%s_%u: %s", m->socket.path, h->port,
			 strerror(-m->socket.fd));
}

static void machine_open(struct hybrid_sockets *h, const char *path, size_t prefix, const struct stat *socket)
{
	struct machine *m;

	if (h->n_machines == MAX_MACHINES) {
		if (!h->full)
			log_warn("no socket for a machine path=%s_%u: there are %u already", path, h->port,
				 MAX_MACHINES);
		h->full = true;
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	*m = (struct machine){.socket = {.path = strdup(path), .port = h->port, .machine = *socket, .fd = -1},
			      .prefix = prefix,
			      .seen = true};
	if (!m->socket.path || !tsearch(m, &h->by_path, compare)) {
		free(m->socket.path);
		free(m);
		return;
	}
	LIST_INSERT_HEAD(&h->machines, m, entry);
	h->n_machines++;
	serve(h, m);
}

static void machine_close(struct hybrid_sockets *h, struct machine *m)
{
	struct stat unused;

	if (m->told && m->socket.fd >= 0 && chunk_server_may_log(h->server))
		log_info("machine gone socket=%s", m->socket.path);
	/* where its directory is gone, or another's now, nothing of ours is there */
	(void)machine_socket_enter(m->socket.path, m->prefix, &unused);
	machine_socket_remove(&m->socket);
	(void)tdelete(m, &h->by_path, compare);
	LIST_REMOVE(m, entry);
	h->n_machines--;
	h->full = false;
	free(m->socket.path);
	free(m);
}

/* ---- Looking ---- */

static void look_at(struct hybrid_sockets *h, char *path, size_t prefix)
{
	struct machine *m = find(h, path);
	struct stat st;

	if (machine_socket_enter(path, prefix, &st) != 0)
		return;
	if (m && !machine_socket_same(&m->socket.machine, &st)) { /* a new machine under an old name */
		machine_close(h, m);
		m = NULL;
		if (machine_socket_enter(path, prefix, &st) != 0)
			return;
	}
	if (!m) {
		machine_open(h, path, prefix, &st);
		return;
	}
	m->seen = true;
	if (m->socket.fd >= 0 && machine_socket_stands(&m->socket))
		return;
	/* somebody has tidied up, or its monitor had not been done with the directory */
	if (m->socket.fd >= 0)
		machine_socket_remove(&m->socket);
	serve(h, m);
}

static void look(struct hybrid_sockets *h)
{
	struct machine *m, *next;

	LIST_FOREACH(m, &h->machines, entry)
	m->seen = false;
	for (size_t i = 0; i < h->n_patterns; i++) {
		glob_t found = {0};

		if (glob(h->patterns[i].text, GLOB_NOSORT, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc; k++)
				look_at(h, found.gl_pathv[k], h->patterns[i].prefix);
		globfree(&found);
	}
	for (m = LIST_FIRST(&h->machines); m; m = next) {
		next = LIST_NEXT(m, entry);
		if (!m->seen)
			machine_close(h, m);
	}
	machine_socket_leave();
}

/* ---- Accepting ---- */

/* False: there are no descriptors left, most likely. */
static bool accept_some(struct hybrid_sockets *h, const struct machine *m)
{
	char peer[PEER_SIZE];

	(void)snprintf(peer, sizeof(peer), "hybrid:%s", m->socket.path);
	for (int i = 0; i < MAX_ACCEPTS; i++) {
		int fd = accept4(m->socket.fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			(void)chunk_server_adopt(h->server, fd, peer);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			if (errno == EAGAIN)
				return true;
			log_warn("accept failed: %s", strerror(errno));
			return false;
		}
	}
	return true;
}

/* Until then, and once at least. False: stop. */
static bool accept_until(struct hybrid_sockets *h, int64_t end_ms)
{
	struct epoll_event events[MAX_EVENTS];
	int64_t left;

	do {
		int n;

		left = end_ms - now_ms();
		n = epoll_wait(h->poll, events, MAX_EVENTS, left > 0 ? (int)left : 0);

		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				return false;
			if (!accept_some(h, events[i].data.ptr)) {
				(void)usleep(NO_DESCRIPTORS_US); /* do not spin */
				break;
			}
		}
	} while (left > 0);
	return true;
}

static void *thread(void *arg)
{
	struct hybrid_sockets *h = arg;
	int r = machine_socket_thread();
	int64_t began_ms, turn_ms;

	if (r < 0) {
		log_error("machines' sockets are not looked for: %s", strerror(-r));
		return NULL;
	}
	do {
		began_ms = now_ms();
		look(h);
		turn_ms = (now_ms() - began_ms) * LOOK_SHARE;
		turn_ms = turn_ms > HYBRID_LOOK_MS ? turn_ms : HYBRID_LOOK_MS;
		turn_ms = turn_ms < MAX_TURN_MS ? turn_ms : MAX_TURN_MS;
	} while (accept_until(h, began_ms + turn_ms));
	while (!LIST_EMPTY(&h->machines))
		machine_close(h, LIST_FIRST(&h->machines));
	return NULL;
}

/* ---- The whole ---- */

static int start(struct hybrid_sockets *h, const struct hybrid_sockets_config *config, struct err *e)
{
	struct epoll_event stop = {.events = EPOLLIN};

	h->patterns = calloc(config->n_patterns + 1, sizeof(*h->patterns));
	if (!h->patterns)
		return err_set(e, -ENOMEM, "out of memory");
	for (; h->n_patterns < config->n_patterns; h->n_patterns++) {
		struct pattern *p = &h->patterns[h->n_patterns];

		p->text = strdup(config->patterns[h->n_patterns]);
		if (!p->text)
			return err_set(e, -ENOMEM, "out of memory");
		p->prefix = machine_socket_prefix(p->text);
	}
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->poll = epoll_create1(EPOLL_CLOEXEC);
	if (h->wake < 0 || h->poll < 0 || epoll_ctl(h->poll, EPOLL_CTL_ADD, h->wake, &stop) < 0)
		return err_errno(e, -errno, "epoll");
	if (pthread_create(&h->thread, NULL, thread, h) != 0)
		return err_set(e, -EAGAIN, "no thread for the sockets of machines");
	h->has_thread = true;
	return 0;
}

int hybrid_sockets_start(struct hybrid_sockets **out, const struct hybrid_sockets_config *config,
			 struct chunk_server *server, struct err *e)
{
	struct hybrid_sockets *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_set(e, -ENOMEM, "out of memory");
	h->server = server;
	h->port = config->port;
	h->wake = h->poll = -1;
	LIST_INIT(&h->machines);
	r = start(h, config, e);
	if (r < 0) {
		hybrid_sockets_stop(h);
		return r;
	}
	*out = h;
	return 0;
}

void hybrid_sockets_stop(struct hybrid_sockets *h)
{
	if (!h)
		return;
	if (h->has_thread) {
		(void)eventfd_write(h->wake, 1);
		(void)pthread_join(h->thread, NULL);
	}
	if (h->wake >= 0)
		(void)close(h->wake);
	if (h->poll >= 0)
		(void)close(h->poll);
	for (size_t i = 0; i < h->n_patterns; i++)
		free(h->patterns[i].text);
	free(h->patterns);
	free(h);
}
