/* SPDX-License-Identifier: Apache-2.0
 * Listening, accepting within limits, and ending. One thread does all of it: it also joins connections that
 * have ended. */
#include "chunkstore/chunk_server.h"
#include "chunkstore/connection.h"
#include "chunkstore/peer.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "proto/wire/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_LISTENERS 8u
#define BACKLOG 256 /* a full one looks like a reset to a vsock guest */
#define REAP_MS 1000
/* So much of all connections may be agreeing upon TLS: who they are is not known yet. */
#define STRANGERS_SHARE 4u

struct listener {
	int fd, lock_file; /* lock_file: unix only, else -1 */
	bool tls;
	char path[108]; /* unix only, else "" */
};

struct chunk_server {
	struct serving serving;
	char **registries; /* owned; what serving.config points at */
	struct listener listeners[MAX_LISTENERS];
	size_t n_listeners;
	struct tls_endpoint *tls; /* NULL: no listener speaks it */
	int wake;		  /* an eventfd: stop, or look again */
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	bool stopping;
	struct connection *connections;
	unsigned n_connections;
};

static void set_defaults(struct chunk_server_config *c)
{
	c->unix_mode = c->unix_mode ? c->unix_mode : 0600;
	c->max_connections = c->max_connections ? c->max_connections : 512;
	c->max_connections_per_peer = c->max_connections_per_peer ? c->max_connections_per_peer : 64;
	c->max_open = c->max_open ? c->max_open : 64;
	c->max_chunks = c->max_chunks ? c->max_chunks : 4096;
	c->max_fetch_bytes = c->max_fetch_bytes ? c->max_fetch_bytes : 32u << 20;
	c->stall_ms = c->stall_ms ? c->stall_ms : WIRE_STALL_SECONDS * 1000;
	c->handshake_ms = c->handshake_ms ? c->handshake_ms : 10000;
}

static int copy_registries(struct chunk_server *s, const struct chunk_server_config *config)
{
	s->serving.config.n_registries = 0;
	if (config->n_registries == 0)
		return 0;
	s->registries = calloc(config->n_registries, sizeof(*s->registries));
	if (!s->registries)
		return -ENOMEM;
	s->serving.config.registries = (const char *const *)s->registries;
	for (size_t i = 0; i < config->n_registries; i++) {
		s->registries[i] = strdup(config->registries[i]);
		if (!s->registries[i])
			return -ENOMEM;
		s->serving.config.n_registries++;
	}
	return 0;
}

/* Take PATH.lock, which tells a living daemon's socket from a dead one's. */
static int lock_path(struct listener *l, struct err *e)
{
	char name[sizeof(l->path) + 8];

	(void)snprintf(name, sizeof(name), "%s.lock", l->path);
	l->lock_file = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (l->lock_file < 0)
		return err_errno(e, -errno, "%s", name);
	if (flock(l->lock_file, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, errno == EWOULDBLOCK ? -EADDRINUSE : -errno, "%s: another daemon serves it",
			       l->path);
	return 0;
}

static int prepare_unix(struct listener *l, const struct address *a, struct err *e)
{
	struct sockaddr_un un;
	struct stat st;
	int r;

	memcpy(&un, &a->storage, sizeof(un));
	memcpy(l->path, un.sun_path, sizeof(un.sun_path));
	l->path[sizeof(l->path) - 1] = '\0';
	r = lock_path(l, e);
	if (r < 0) {
		l->path[0] = '\0'; /* not ours to remove */
		return r;
	}
	if (lstat(l->path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		(void)err_set(e, -EEXIST, "%s: there is something that is not a socket", l->path);
		l->path[0] = '\0';
		return -EEXIST;
	}
	(void)unlink(l->path);
	/* born closed to others; the mode is set when it is bound */
	return fchmod(l->fd, 0600) < 0 ? err_errno(e, -errno, "%s", l->path) : 0;
}

/* A restart does not wait for the last connections, and a guest that went without a word is noticed. */
static int prepare_tcp(struct chunk_server *s, struct listener *l, const struct chunk_server_config *config,
		       struct err *e)
{
	const struct tls_options options = {.certificate = config->tls_certificate,
					    .key = config->tls_key,
					    .pins = config->tls_guests,
					    .n_pins = config->n_tls_guests};
	static const struct {
		int level, name, value;
	} settings[] = {
		{SOL_SOCKET, SO_REUSEADDR, 1},	 {SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 15},
		{IPPROTO_TCP, TCP_KEEPCNT, 4},	 {IPPROTO_TCP, TCP_NODELAY, 1},
	};
	char pin[DIGEST_TEXT_SIZE];
	int r = s->tls ? 0 : tls_host_new(&s->tls, &options, e);

	if (r < 0)
		return r;
	l->tls = true;
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (setsockopt(l->fd, settings[i].level, settings[i].name, &settings[i].value, sizeof(int)) <
		    0)
			return err_errno(e, -errno, "setsockopt");
	log_info("tls key=%s", digest_text(tls_endpoint_pin(s->tls), pin));
	return 0;
}

static int listen_on(struct chunk_server *s, const char *text, const struct chunk_server_config *config,
		     struct err *e)
{
	struct listener *l = &s->listeners[s->n_listeners];
	struct address a;
	int r = address_parse_listen(&a, text, e);

	if (r < 0)
		return r;
	*l = (struct listener){.fd = -1, .lock_file = -1};
	s->n_listeners++;
	l->fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_errno(e, -errno, "%s", text);
	if (a.sa.sa_family == AF_UNIX)
		r = prepare_unix(l, &a, e);
	else if (a.tls)
		r = prepare_tcp(s, l, config, e);
	if (r < 0)
		return r;
	if (bind(l->fd, &a.sa, a.size) < 0 || listen(l->fd, BACKLOG) < 0)
		return err_errno(e, -errno, "%s", text);
	if (l->path[0] && chmod(l->path, s->serving.config.unix_mode) < 0)
		return err_errno(e, -errno, "%s", text);
	return 0;
}

/* Under the lock: free what has ended. */
static void reap(struct chunk_server *s)
{
	struct connection **at = &s->connections;

	while (*at) {
		struct connection *c = *at;

		if (atomic_load(&c->finished)) {
			*at = c->next;
			s->n_connections--;
			connection_join(c);
		} else {
			at = &c->next;
		}
	}
}

/* Under the lock: has a machine as many connections as it may, or are there too many strangers? */
static bool is_full(const struct chunk_server *s, const struct peer *peer, bool tls)
{
	const struct chunk_server_config *config = &s->serving.config;
	unsigned n = 0, strangers = 0;

	for (const struct connection *c = s->connections; c; c = c->next) {
		n += peer->machine[0] && strcmp(c->peer.machine, peer->machine) == 0;
		strangers += !atomic_load(&c->met);
	}
	return s->n_connections >= config->max_connections || n >= config->max_connections_per_peer ||
	       (tls && strangers >= (config->max_connections + STRANGERS_SHARE - 1) / STRANGERS_SHARE);
}

static int adopt(struct chunk_server *s, int fd, const struct peer *peer, const struct tls_endpoint *tls)
{
	struct connection *c = NULL;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	reap(s);
	if (s->stopping || is_full(s, peer, tls != NULL)) {
		(void)close(fd);
		r = -EBUSY;
	} else {
		r = connection_start(&c, &s->serving, fd, peer, tls);
	}
	if (r == 0) {
		c->next = s->connections;
		s->connections = c;
		s->n_connections++;
	}
	(void)pthread_mutex_unlock(&s->lock);
	(void)atomic_fetch_add(r == 0 ? &s->serving.accepted : &s->serving.refused, 1);
	return r;
}

int chunk_server_adopt(struct chunk_server *s, int fd, const char *name)
{
	struct peer peer;

	peer_set(&peer, name);
	return adopt(s, fd, &peer, NULL);
}

bool chunk_server_may_log(struct chunk_server *s)
{
	return serving_may_log(&s->serving);
}

static void take(struct chunk_server *s, int fd, const struct sockaddr_storage *from, bool tls)
{
	struct peer peer;
	struct err e = {""};

	if (peer_identify(&peer, fd, from, &e) < 0) {
		(void)close(fd);
		(void)atomic_fetch_add(&s->serving.refused, 1);
		if (serving_may_log(&s->serving))
			log_warn("connection refused peer=%s: %s", peer.name, e.text);
		return;
	}
	if (adopt(s, fd, &peer, tls ? s->tls : NULL) == -EBUSY && serving_may_log(&s->serving))
		log_warn("connection refused peer=%s: there are too many", peer.name);
}

static void accept_all(struct chunk_server *s, const struct listener *l)
{
	for (;;) {
		struct sockaddr_storage from = {0};
		socklen_t size = sizeof(from);
		int fd = accept4(l->fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);

		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN) { /* no descriptors left, most likely: do not spin */
				log_warn("accept failed: %s", strerror(errno));
				(void)usleep(100000);
			}
			return;
		}
		take(s, fd, &from, l->tls);
	}
}

static void *accept_thread(void *arg)
{
	struct chunk_server *s = arg;
	struct pollfd p[MAX_LISTENERS + 1];
	bool stopping = false;

	for (size_t i = 0; i < s->n_listeners; i++)
		p[i] = (struct pollfd){.fd = s->listeners[i].fd, .events = POLLIN};
	p[s->n_listeners] = (struct pollfd){.fd = s->wake, .events = POLLIN};
	while (!stopping) {
		if (poll(p, s->n_listeners + 1, REAP_MS) < 0 && errno != EINTR)
			break;
		for (size_t i = 0; i < s->n_listeners; i++)
			if (p[i].revents & POLLIN)
				accept_all(s, &s->listeners[i]);
		(void)pthread_mutex_lock(&s->lock);
		reap(s);
		stopping = s->stopping;
		(void)pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static int start(struct chunk_server *s, const struct chunk_server_config *config, struct err *e)
{
	int r = copy_registries(s, config);

	if (r < 0)
		return err_set(e, r, "out of memory");
	if (config->n_listen > MAX_LISTENERS)
		return err_set(e, -EINVAL, "%zu addresses to listen on, at most %u", config->n_listen,
			       MAX_LISTENERS);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake < 0)
		return err_errno(e, -errno, "eventfd");
	for (size_t i = 0; i < config->n_listen; i++) {
		r = listen_on(s, config->listen[i], config, e);
		if (r < 0)
			return r;
	}
	if (pthread_create(&s->thread, NULL, accept_thread, s) != 0)
		return err_set(e, -EAGAIN, "no thread for the chunk server");
	s->has_thread = true;
	return 0;
}

int chunk_server_start(struct chunk_server **out, const struct chunk_server_config *config,
		       struct chunkstore *store, struct err *e)
{
	struct chunk_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	(void)pthread_mutex_init(&s->lock, NULL);
	s->wake = -1;
	s->serving.store = store;
	s->serving.config = *config;
	s->serving.config.listen = NULL;
	s->serving.config.tls_guests = NULL;
	s->serving.config.tls_certificate = s->serving.config.tls_key = NULL;
	set_defaults(&s->serving.config);
	r = start(s, config, e);
	if (r < 0) {
		chunk_server_stop(s);
		return r;
	}
	*out = s;
	return 0;
}

static void listener_close(struct listener *l)
{
	if (l->path[0])
		(void)unlink(l->path);
	if (l->fd >= 0)
		(void)close(l->fd);
	if (l->lock_file >= 0)
		(void)close(l->lock_file);
}

void chunk_server_stop(struct chunk_server *s)
{
	if (!s)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stopping = true;
	for (struct connection *c = s->connections; c; c = c->next)
		connection_shutdown(c);
	(void)pthread_mutex_unlock(&s->lock);
	if (s->has_thread) {
		(void)eventfd_write(s->wake, 1);
		(void)pthread_join(s->thread, NULL);
	}
	while (s->connections) {
		struct connection *c = s->connections;

		s->connections = c->next;
		connection_join(c);
	}
	for (size_t i = 0; i < s->n_listeners; i++)
		listener_close(&s->listeners[i]);
	tls_endpoint_free(s->tls);
	if (s->wake >= 0)
		(void)close(s->wake);
	for (size_t i = 0; i < s->serving.config.n_registries; i++)
		free(s->registries[i]);
	free(s->registries);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

void chunk_server_stats(struct chunk_server *s, struct chunk_server_stats *out)
{
	(void)pthread_mutex_lock(&s->lock);
	*out = (struct chunk_server_stats){
		.connections = s->n_connections,
		.accepted = atomic_load(&s->serving.accepted),
		.refused = atomic_load(&s->serving.refused),
		.broken = atomic_load(&s->serving.broken),
		.requests = atomic_load(&s->serving.requests),
		.failures = atomic_load(&s->serving.failures),
		.chunks = atomic_load(&s->serving.chunks),
		.bytes = atomic_load(&s->serving.bytes),
	};
	(void)pthread_mutex_unlock(&s->lock);
}
