/* SPDX-License-Identifier: Apache-2.0
 * cocoon-snapshotter: containerd's snapshotter on one socket, sealed chunks for guests on another. The order
 * of starting is the order of dependency, stopping is the reverse; images that are mounted stay mounted. */
#include "chunkstore/chunk_server.h"
#include "chunkstore/chunkstore.h"
#include "chunkstore/hybrid_sockets.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/log.h"
#include "proto/wire/wire.h"
#include "snapshotter/config.h"
#include "snapshotter/local_road.h"
#include "snapshotter/metrics.h"
#include "snapshotter/rpc_server.h"
#include "snapshotter/sealed.h"
#include "snapshotter/snapshots.h"
#include "snapshotter/snapshots_service.h"
#include "snapshotter/unix_listener.h"

#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define SOCKET_MODE 0600
#define GRACE_MS 5000

static const char usage[] =
	"usage: cocoon-snapshotter [--config FILE] [--address SOCKET] [--root DIR] [--log-level LEVEL]\n"
	"\n"
	"Serves sealed and ordinary images to containerd (proxy plugin of type \"snapshot\") and sealed "
	"chunks to guests.\n"
	"It never has a key.\n"
	"\n"
	"  --config FILE       YAML; every field has a default, see cocoon-snapshotter(8)\n"
	"  --address SOCKET    where containerd finds it (default /run/cocoon/snapshotter.sock)\n"
	"  --root DIR          state, chunk cache, mounts (default /var/lib/cocoon)\n"
	"  --log-level LEVEL   error, warn, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 stopped by SIGTERM or SIGINT, 1 could not start, 2 wrong usage.\n";

struct options {
	const char *config, *address, *root;
	enum log_level level;
};

/* Everything that runs, in the order in which it was started. */
struct daemon {
	struct config config;
	int root_lock;
	struct unix_listener listener;
	char *chunk_address; /* unix:PATH, as guests take it */
	struct chunkstore *store;
	struct chunk_server *chunks;
	struct hybrid_sockets *hybrid;
	struct local_road *local;
	struct sealed_finder *sealed;
	struct snapshots_service service;
	struct metrics *metrics;
	struct rpc_server *rpc;
};

/* 0: go on; 1: done, leave with success; negative: leave with wrong usage. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
						     {"address", required_argument, NULL, 'a'},
						     {"root", required_argument, NULL, 'r'},
						     {"log-level", required_argument, NULL, 'l'},
						     {"help", no_argument, NULL, 'h'},
						     {"version", no_argument, NULL, 'v'},
						     {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'a':
			o->address = optarg;
			break;
		case 'r':
			o->root = optarg;
			break;
		case 'l':
			if (log_level_parse(&o->level, optarg) < 0) {
				(void)fprintf(stderr, "--log-level is error, warn, info or debug\n");
				return -EINVAL;
			}
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 1;
		case 'v':
			(void)puts("cocoon-snapshotter " COCOON_VERSION);
			return 1;
		default:
			(void)fputs(usage, stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		(void)fputs(usage, stderr);
		return -EINVAL;
	}
	return 0;
}

static int load_config(struct config *c, const struct options *o, struct err *e)
{
	int r = config_load(c, o->config, e);

	if (r == 0 && o->address)
		r = config_set(&c->address, o->address);
	if (r == 0 && o->root) {
		cleanup_free char *absolute = NULL;

		r = make_directories(o->root, e);
		absolute = r == 0 ? realpath(o->root, NULL) : NULL;
		if (r == 0 && !absolute)
			r = err_errno(e, -errno, "%s", o->root);
		if (r == 0)
			r = config_set(&c->root, absolute);
	}
	return r == 0 ? config_complete(c) : r;
}

/* One daemon for one root. */
static int lock_root(struct daemon *d, struct err *e)
{
	cleanup_close int dir = -1, lock = -1;
	int r = make_directories(d->config.root, e);

	if (r < 0)
		return r;
	dir = open(d->config.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	lock = dir < 0 ? -1 : openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0)
		return err_errno(e, -errno, "%s", d->config.root);
	if (flock(lock, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EBUSY, "%s: another cocoon-snapshotter uses it", d->config.root);
	d->root_lock = take_fd(&lock);
	return 0;
}

static int start_store(struct daemon *d, struct err *e)
{
	const struct config *c = &d->config;
	const struct chunkstore_config store = {
		.root = c->root,
		.cache_max_bytes = c->cache_max_bytes,
		.registry = {.ca_file = c->registry.ca_file,
			     .docker_config = c->registry.docker_config,
			     .plain_http = (const char *const *)c->registry.plain_http,
			     .n_plain_http = c->registry.n_plain_http},
	};
	char vsock[32];
	struct chunk_server_config server = {
		.max_connections = c->max_connections,
		.tls_certificate = c->tls.certificate,
		.tls_key = c->tls.key,
		.tls_guests = c->tls.guests,
		.n_tls_guests = c->tls.n_guests,
		.unix_mode = SOCKET_MODE,
		.registries = (const char *const *)c->registry.allowed,
		.n_registries = c->registry.n_allowed,
	};
	const char *listen[3];
	int r;

	(void)snprintf(vsock, sizeof(vsock), "vsock:any:%u", c->vsock_port);
	if (asprintf(&d->chunk_address, "unix:%s", c->chunk_socket) < 0) {
		d->chunk_address = NULL;
		return -ENOMEM;
	}
	listen[server.n_listen++] = d->chunk_address;
	if (c->vsock_port)
		listen[server.n_listen++] = vsock;
	if (c->tls.address)
		listen[server.n_listen++] = c->tls.address;
	server.listen = listen;
	r = chunkstore_open(&d->store, &store, e);
	return r < 0 ? r : chunk_server_start(&d->chunks, &server, d->store, e);
}

static int start_hybrid(struct daemon *d, struct err *e)
{
	const struct hybrid_sockets_config hybrid = {
		.patterns = (const char *const *)d->config.hybrid_sockets,
		.n_patterns = d->config.n_hybrid_sockets,
		.port = WIRE_DEFAULT_PORT,
	};

	return hybrid.n_patterns == 0 ? 0 : hybrid_sockets_start(&d->hybrid, &hybrid, d->chunks, e);
}

static int start_local(struct daemon *d, struct err *e)
{
	const struct config *c = &d->config;
	const struct local_road_config road = {
		.root = c->root,
		.host = d->chunk_address,
		.guestfs = c->local.guestfs,
		.keys = (const char *const *)c->local.keys,
		.n_keys = c->local.n_keys,
		.front = c->local.front,
		.cache_bytes = c->local.cache_bytes,
		.timeout_ms = c->local.timeout_seconds * 1000,
	};

	return local_road_open(&d->local, &road, e);
}

/* The kata road keeps its state below that of the local one. */
static int start_roads(struct daemon *d, struct err *e)
{
	cleanup_free char *kata = NULL;
	struct snapshots_config road = {.root = d->config.root, .road = ROAD_LOCAL, .local = d->local};
	int r = sealed_finder_new(&d->sealed, d->store);

	if (r < 0)
		return r;
	road.sealed = d->sealed;
	d->service.roads[ROAD_LOCAL].snapshotter = d->config.local.snapshotter;
	d->service.roads[ROAD_KATA].snapshotter = d->config.kata.snapshotter;
	r = snapshots_open(&d->service.roads[ROAD_LOCAL].snapshots, &road, e);
	if (r < 0)
		return r;
	if (asprintf(&kata, "%s/kata", d->config.root) < 0) {
		kata = NULL;
		return -ENOMEM;
	}
	road = (struct snapshots_config){.root = kata,
					 .road = ROAD_KATA,
					 .plain_in_guest = strcmp(d->config.kata.plain_images, "guest") == 0,
					 .sealed = d->sealed};
	return snapshots_open(&d->service.roads[ROAD_KATA].snapshots, &road, e);
}

static void count_call(void *arg, const char *path, const char *road, int status)
{
	struct daemon *d = arg;

	metrics_count_call(d->metrics, path, road, status);
}

static int start_service(struct daemon *d, struct err *e)
{
	struct rpc_server_options options = {
		.methods = snapshots_methods,
		.n_methods = N_SNAPSHOTS_METHODS,
		.arg = &d->service,
		.finished = count_call,
		.finished_arg = d,
	};
	const struct metrics_sources sources = {d->store, d->chunks, d->local};
	int r = 0;

	if (d->config.metrics)
		r = metrics_start(d->metrics, d->config.metrics, &sources, e);
	return r < 0 ? r : rpc_server_start(&d->rpc, &options, take_fd(&d->listener.fd), e);
}

static int start(struct daemon *d, struct err *e)
{
	int r = lock_root(d, e);

	if (r == 0)
		r = unix_listener_open(&d->listener, d->config.address, SOCKET_MODE, e);
	if (r == 0)
		r = metrics_new(&d->metrics);
	if (r == 0)
		r = start_store(d, e);
	if (r == 0)
		r = start_hybrid(d, e);
	if (r == 0)
		r = start_local(d, e);
	if (r == 0)
		r = start_roads(d, e);
	return r == 0 ? start_service(d, e) : r;
}

/* What a call may be waiting for ends now. */
static void hurry(void *arg)
{
	struct daemon *d = arg;

	local_road_cancel(d->local);
	registry_client_stop(d->store->registry);
}

static void stop(struct daemon *d)
{
	rpc_server_stop(d->rpc, GRACE_MS, hurry, d);
	if (d->metrics)
		metrics_stop(d->metrics);
	for (enum road i = 0; i < N_ROADS; i++)
		snapshots_close(d->service.roads[i].snapshots);
	sealed_finder_free(d->sealed);
	if (d->local)
		local_road_cancel(d->local); /* what is mounted ahead has nobody to wait for it */
	local_road_close(d->local);
	hybrid_sockets_stop(d->hybrid);
	chunk_server_stop(d->chunks);
	chunkstore_close(d->store);
	metrics_free(d->metrics);
	free(d->chunk_address);
	unix_listener_close(&d->listener);
	if (d->root_lock >= 0)
		(void)close(d->root_lock);
	config_deinit(&d->config);
}

/* Nothing this process holds goes into a core file, and what it writes is for its user alone. */
static void harden(void)
{
	const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	struct options options = {.level = LOG_LEVEL_INFO};
	struct daemon d = {.root_lock = -1, .listener = {.fd = -1, .lock = -1}};
	struct err e = {""};
	sigset_t wanted;
	int r = parse_options(&options, argc, argv), signal_number = 0;

	if (r != 0)
		return r < 0 ? 2 : 0;
	log_init("cocoon-snapshotter", options.level);
	harden();
	/* Threads inherit the mask: signals are for sigwait() below alone. */
	(void)sigemptyset(&wanted);
	(void)sigaddset(&wanted, SIGTERM);
	(void)sigaddset(&wanted, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &wanted, NULL);

	r = load_config(&d.config, &options, &e);
	if (r == 0)
		r = start(&d, &e);
	if (r < 0) {
		if (!e.text[0])
			(void)err_errno(&e, r, "starting");
		log_error("%s", e.text);
		stop(&d);
		return 1;
	}
	log_info("ready address=%s root=%s", d.config.address, d.config.root);
	(void)sd_notify(0, "READY=1");
	(void)sigwait(&wanted, &signal_number);
	(void)sd_notify(0, "STOPPING=1");
	log_info("stopping signal=%d", signal_number);
	stop(&d);
	return 0;
}
