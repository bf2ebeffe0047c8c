/* SPDX-License-Identifier: Apache-2.0
 * The host's process: the production chunk server over the production cache, image store and fetcher. It can
 * be stopped in good order, or killed at any moment; what it has on disk stays. */
#include "chunkstore/chunk_server.h"
#include "chunkstore/chunkstore.h"
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT "/var/cocoon"
#define STOP_LIMIT (300 * SECOND)

static struct {
	struct fiber *main; /* NULL: not running */
	bool up, stop;
} the_host;

/* chunkstore_open() for any size of the cache: a small one evicts. */
static int open_store(struct chunkstore *s, struct err *e)
{
	const struct registry_options registry = {.user_agent = "sim"};
	const struct image_store_options options = {.dir = ROOT "/images"};
	const struct fetcher_options fetcher = {.threads = plan.fetchers,
						.threads_per_registry = plan.fetchers};
	int r = registry_client_open(&s->registry, &registry, e);

	if (r == 0)
		r = chunk_cache_open(&s->cache, ROOT "/chunks", plan.cache_max, e);
	if (r == 0)
		r = image_store_open(&s->images, &options, s->registry, s->cache, e);
	return r == 0 ? fetcher_open(&s->fetcher, &fetcher, s->registry, s->cache, e) : r;
}

static void close_store(struct chunkstore *s)
{
	if (s->registry)
		registry_client_stop(s->registry);
	fetcher_close(s->fetcher);
	image_store_close(s->images);
	chunk_cache_close(s->cache);
	registry_client_close(s->registry);
}

static void serve_until_stopped(struct chunkstore *store)
{
	const char *listen[] = {plan.vsock ? "vsock:any:7681" : "unix:/run/chunks"};
	struct chunk_server_config config = {.listen = listen,
					     .n_listen = 1,
					     .max_open = plan.max_open,
					     .max_chunks = plan.max_chunks,
					     .max_fetch_bytes = plan.max_fetch_bytes};
	struct chunk_server *server;
	struct err e = {""};

	if (chunk_server_start(&server, &config, store, &e) < 0)
		return;
	trace("host up", 0, 0);
	the_host.up = true;
	while (!the_host.stop)
		(void)sim_wait(&the_host.stop, -1);
	the_host.up = false;
	sim_promise(sim_now() + STOP_LIMIT, "the host's end");
	registry_client_stop(store->registry);
	chunk_server_stop(server);
}

static void *host_main(void *arg)
{
	(void)arg;
	while (!the_host.stop) {
		struct chunkstore store = {0};
		struct err e = {""};

		totals.starts++;
		if (open_store(&store, &e) == 0)
			serve_until_stopped(&store);
		close_store(&store);
		if (!the_host.stop)
			sim_sleep(100 * MS); /* the disk may be better then */
	}
	return NULL;
}

void host_reset(void)
{
	the_host.main = NULL;
	the_host.up = the_host.stop = false;
	(void)mkdir("/run", 0700);
	(void)mkdir("/var", 0700);
}

bool host_is_up(void)
{
	return the_host.up;
}

void host_start(void)
{
	the_host.stop = false;
	the_host.main = sim_spawn(HOST, "host", host_main, NULL);
}

void host_stop(void)
{
	trace("host stops", 0, 0);
	the_host.stop = true;
	sim_wake_all(&the_host.stop);
	sim_join(the_host.main);
	the_host.main = NULL;
	sim_check(sim_fibers_of(HOST) == 0, "the host's threads are left: %u", sim_fibers_of(HOST));
	sim_check(files_open(HOST) == 0, "the host's descriptors are left: %u", files_open(HOST));
	sim_check(memory_blocks(HOST) == 0, "the host's memory is left: %zu blocks", memory_blocks(HOST));
}

void host_crash(void)
{
	trace("host dies", 0, 0);
	sim_kill(HOST);
	files_close_side(HOST);
	memory_drop(HOST);
	the_host.main = NULL;
	the_host.up = false;
}
