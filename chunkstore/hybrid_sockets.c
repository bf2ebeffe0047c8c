/* SPDX-License-Identifier: Apache-2.0
 * One thread looks and accepts. A machine's socket lies in a directory that its monitor owns, and a monitor
 * that the guest has taken over may put anything there: what is made here is made with the rights of the
 * socket's owner, who has to connect to it, and never by following a link. */
#include "chunkstore/hybrid_sockets.h"
#include "chunkstore/peer.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fsuid.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_MACHINES 256u
#define BACKLOG 128 /* a full one looks like a reset to the guest */

/* A machine's socket and ours beside it. */
struct machine {
	LIST_ENTRY(machine) entry;
	char path[108]; /* of the machine's socket */
	struct sockaddr_un ours;
	struct stat socket; /* the machine's */
	int fd;		    /* listening; negative: why it could not be made, which was told */
	bool seen;	    /* in this look */
};

LIST_HEAD(machine_list, machine);

struct hybrid_sockets {
	struct chunk_server *server;
	char **patterns;
	size_t n_patterns;
	unsigned port;
	int wake; /* an eventfd: stop */
	bool has_thread;
	pthread_t thread;
	/* the thread's own */
	struct machine_list machines;
	unsigned n_machines;
};

/* Do something as the owner of the machine's socket. The calling thread's rights alone change. */
static void become_owner(const struct stat *socket)
{
	(void)setfsgid(socket->st_gid);
	(void)setfsuid(socket->st_uid);
}

static void become_self(void)
{
	(void)setfsuid(geteuid());
	(void)setfsgid(getegid());
}

static int make_listener(const struct machine *m)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;
	int r = 0;

	if (fd < 0 || fchmod(fd, 0600) < 0)
		return -errno;
	become_owner(&m->socket);
	/* one of a daemon that was killed is in the way; anything else is somebody's */
	if (lstat(m->ours.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(m->ours.sun_path);
	if (bind(fd, (const struct sockaddr *)&m->ours, sizeof(m->ours)) < 0 || listen(fd, BACKLOG) < 0)
		r = -errno;
	become_self();
	return r < 0 ? r : take_fd(&fd);
}

static void machine_open(struct hybrid_sockets *h, const char *path, const struct stat *socket)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return;
	(void)snprintf(m->path, sizeof(m->path), "%s", path);
	m->ours.sun_family = AF_UNIX;
	m->socket = *socket;
	m->seen = true;
	if (snprintf(m->ours.sun_path, sizeof(m->ours.sun_path), "%s_%u", path, h->port) <
	    (int)sizeof(m->ours.sun_path))
		m->fd = make_listener(m);
	else
		m->fd = -ENAMETOOLONG;
	if (m->fd < 0)
		log_warn("no socket for a machine path=%s_%u: %s", path, h->port, strerror(-m->fd));
	else
		log_info("machine found socket=%s uid=%u", path, (unsigned)socket->st_uid);
	LIST_INSERT_HEAD(&h->machines, m, entry);
	h->n_machines++;
}

static void machine_close(struct hybrid_sockets *h, struct machine *m)
{
	if (m->fd >= 0) {
		(void)close(m->fd);
		become_owner(&m->socket);
		(void)unlink(m->ours.sun_path);
		become_self();
		log_info("machine gone socket=%s", m->path);
	}
	LIST_REMOVE(m, entry);
	h->n_machines--;
	free(m);
}

static struct machine *find(struct hybrid_sockets *h, const char *path)
{
	struct machine *m;

	LIST_FOREACH(m, &h->machines, entry)
	if (strcmp(m->path, path) == 0)
		return m;
	return NULL;
}

static bool same_socket(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_uid == b->st_uid &&
	       a->st_gid == b->st_gid;
}

static void look_at(struct hybrid_sockets *h, const char *path)
{
	struct machine *m = find(h, path);
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (m && !same_socket(&m->socket, &st)) { /* a new machine under an old name */
		machine_close(h, m);
		m = NULL;
	}
	if (m && m->fd < 0)
		m->fd = make_listener(m); /* its monitor may not have been done with the directory */
	if (m)
		m->seen = true;
	else if (h->n_machines < MAX_MACHINES)
		machine_open(h, path, &st);
}

static void look(struct hybrid_sockets *h)
{
	struct machine *m = LIST_FIRST(&h->machines), *next;

	for (size_t i = 0; i < h->n_patterns; i++) {
		glob_t found = {0};

		if (glob(h->patterns[i], GLOB_NOSORT, NULL, &found) == 0)
			for (size_t k = 0; k < found.gl_pathc; k++)
				look_at(h, found.gl_pathv[k]);
		globfree(&found);
	}
	for (; m; m = next) {
		next = LIST_NEXT(m, entry);
		if (!m->seen)
			machine_close(h, m);
	}
	LIST_FOREACH(m, &h->machines, entry)
	m->seen = false;
}

static void accept_all(struct hybrid_sockets *h, const struct machine *m)
{
	char peer[PEER_SIZE];
	int fd;

	(void)snprintf(peer, sizeof(peer), "hybrid:%s", m->path);
	while ((fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		(void)chunk_server_adopt(h->server, fd, peer);
}

/* False: stop. */
static bool wait_and_accept(struct hybrid_sockets *h)
{
	struct pollfd p[MAX_MACHINES + 1] = {{.fd = h->wake, .events = POLLIN}};
	struct machine *m;
	nfds_t n = 1;

	LIST_FOREACH(m, &h->machines, entry)
	p[n++] = (struct pollfd){.fd = m->fd, .events = POLLIN};
	if (poll(p, n, HYBRID_LOOK_MS) <= 0)
		return true;
	n = 1;
	LIST_FOREACH(m, &h->machines, entry)
	if (p[n++].revents & POLLIN)
		accept_all(h, m);
	return p[0].revents == 0;
}

static void *thread(void *arg)
{
	struct hybrid_sockets *h = arg;

	do {
		look(h);
	} while (wait_and_accept(h));
	while (!LIST_EMPTY(&h->machines))
		machine_close(h, LIST_FIRST(&h->machines));
	return NULL;
}

static int start(struct hybrid_sockets *h, const struct hybrid_sockets_config *config, struct err *e)
{
	h->patterns = calloc(config->n_patterns + 1, sizeof(*h->patterns));
	if (!h->patterns)
		return err_set(e, -ENOMEM, "out of memory");
	for (; h->n_patterns < config->n_patterns; h->n_patterns++) {
		h->patterns[h->n_patterns] = strdup(config->patterns[h->n_patterns]);
		if (!h->patterns[h->n_patterns])
			return err_set(e, -ENOMEM, "out of memory");
	}
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake < 0)
		return err_errno(e, -errno, "eventfd");
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
	h->wake = -1;
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
	for (size_t i = 0; i < h->n_patterns; i++)
		free(h->patterns[i]);
	free(h->patterns);
	free(h);
}
