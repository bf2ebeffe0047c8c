/* SPDX-License-Identifier: Apache-2.0
 * Calls are counted in a fixed table of atomics, road × method × status; everything else is asked from its
 * owner when somebody looks. */
#include "snapshotter/metrics.h"

#include "proto/base/bytes.h"
#include "proto/base/cleanup.h"
#include "snapshotter/snapshots_service.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#define N_STATUSES 17 /* gRPC's codes, 0 … 16 */
#define MAX_PAGE (64u << 10)

struct metrics {
	struct MHD_Daemon *http; /* NULL while not serving */
	struct metrics_sources sources;
	/* Last: calls for no road, methods that are not there. */
	atomic_uint_least64_t calls[N_ROADS + 1][N_SNAPSHOTS_METHODS + 1][N_STATUSES];
};

static const char *const status_names[N_STATUSES] = {
	"OK",	     "CANCELLED",      "UNKNOWN",	    "INVALID_ARGUMENT",	  "DEADLINE_EXCEEDED",
	"NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
	"ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",	    "INTERNAL",		  "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED"};

int metrics_new(struct metrics **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void metrics_free(struct metrics *m)
{
	free(m);
}

void metrics_count_call(struct metrics *m, const char *path, const char *road, int status)
{
	size_t way = 0, i = 0;

	while (way < N_ROADS && strcmp(road_names[way], road) != 0)
		way++;
	while (i < N_SNAPSHOTS_METHODS && strcmp(snapshots_methods[i].path, path) != 0)
		i++;
	if (status >= 0 && status < N_STATUSES)
		(void)atomic_fetch_add_explicit(&m->calls[way][i][status], 1, memory_order_relaxed);
}

__attribute__((format(printf, 2, 3))) static void put(struct buf *page, const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof(line))
		buf_put(page, line, (size_t)n);
}

static void put_value(struct buf *page, const char *name, const char *type, uint64_t value)
{
	put(page, "# TYPE %s %s\n%s %" PRIu64 "\n", name, type, name, value);
}

static void put_method(struct buf *page, const struct metrics *m, size_t way, size_t i)
{
	const char *method =
		i < N_SNAPSHOTS_METHODS ? strrchr(snapshots_methods[i].path, '/') + 1 : "unknown";

	for (size_t k = 0; k < N_STATUSES; k++) {
		uint64_t n = atomic_load_explicit(&m->calls[way][i][k], memory_order_relaxed);

		if (n > 0)
			put(page,
			    "cocoon_grpc_calls_total{road=\"%s\",method=\"%s\",code=\"%s\"} %" PRIu64 "\n",
			    way < N_ROADS ? road_names[way] : "unknown", method, status_names[k], n);
	}
}

static void put_calls(struct buf *page, const struct metrics *m)
{
	put(page, "# TYPE cocoon_grpc_calls_total counter\n");
	for (size_t way = 0; way <= N_ROADS; way++)
		for (size_t i = 0; i <= N_SNAPSHOTS_METHODS; i++)
			put_method(page, m, way, i);
}

static void put_store(struct buf *page, const struct metrics_sources *from)
{
	struct chunk_cache_stats cache;
	struct fetcher_stats fetcher;
	struct chunk_server_stats server;
	struct image_store_stats images;

	chunk_cache_stats(from->store->cache, &cache);
	fetcher_stats(from->store->fetcher, &fetcher);
	image_store_stats(from->store->images, &images);
	chunk_server_stats(from->server, &server);
	put_value(page, "cocoon_cache_chunks", "gauge", cache.chunks);
	put_value(page, "cocoon_cache_bytes", "gauge", cache.bytes);
	put_value(page, "cocoon_cache_max_bytes", "gauge", cache.max_bytes);
	put_value(page, "cocoon_cache_hits_total", "counter", cache.hits);
	put_value(page, "cocoon_cache_misses_total", "counter", cache.misses);
	put_value(page, "cocoon_cache_evictions_total", "counter", cache.evictions);
	put_value(page, "cocoon_cache_damaged_total", "counter", cache.damaged);
	put_value(page, "cocoon_registry_requests_total", "counter", fetcher.requests);
	put_value(page, "cocoon_registry_bytes_total", "counter", fetcher.bytes);
	put_value(page, "cocoon_fetch_failures_total", "counter", fetcher.failures);
	put_value(page, "cocoon_fetch_shared_total", "counter", fetcher.shared);
	put_value(page, "cocoon_images", "gauge", images.images);
	put_value(page, "cocoon_guest_connections", "gauge", server.connections);
	put_value(page, "cocoon_guest_requests_total", "counter", server.requests);
	put_value(page, "cocoon_guest_bytes_total", "counter", server.bytes);
	put_value(page, "cocoon_guest_broken_total", "counter", server.broken);
}

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned code, const char *type,
			     const void *body, size_t size)
{
	union {
		const void *in;
		void *out;
	} u = {body}; /* MHD_RESPMEM_MUST_COPY only reads */
	struct MHD_Response *response = MHD_create_response_from_buffer(size, u.out, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r;

	if (!response)
		return MHD_NO;
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	r = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	static const char not_found[] = "GET /metrics\n";
	struct metrics *m = arg;
	cleanup_buf struct buf page;

	(void)version;
	(void)upload;
	(void)state;
	buf_init(&page, MAX_PAGE);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 || *upload_size > 0)
		return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", not_found,
			     strlen(not_found));
	if (strcmp(url, "/metrics") != 0)
		return reply(connection, MHD_HTTP_NOT_FOUND, "text/plain", not_found, strlen(not_found));
	put_calls(&page, m);
	put_store(&page, &m->sources);
	put_value(&page, "cocoon_mounted_images", "gauge", local_road_count(m->sources.road));
	if (buf_failed(&page))
		return MHD_NO;
	return reply(connection, MHD_HTTP_OK, "text/plain; version=0.0.4", page.data, page.size);
}

/* HOST:PORT, numeric; [HOST]:PORT for IPv6. */
static int parse_address(const char *text, struct addrinfo **out, struct err *e)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				       .ai_socktype = SOCK_STREAM};
	cleanup_free char *host = strdup(text);
	char *colon = host ? strrchr(host, ':') : NULL, *name = host;

	if (!host)
		return -ENOMEM;
	if (!colon)
		return err_set(e, -EINVAL, "metrics address %.128s is not HOST:PORT", text);
	*colon = '\0';
	if (*name == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	if (getaddrinfo(name, colon + 1, &hints, out) != 0)
		return err_set(e, -EINVAL, "metrics address %.128s is not a numeric HOST:PORT", text);
	return 0;
}

int metrics_start(struct metrics *m, const char *address, const struct metrics_sources *sources,
		  struct err *e)
{
	struct addrinfo *where;
	int r = parse_address(address, &where, e);

	if (r < 0)
		return r;
	m->sources = *sources;
	errno = 0;
	m->http = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL |
					   (where->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0),
				   0, NULL, NULL, answer, m, MHD_OPTION_SOCK_ADDR, where->ai_addr,
				   MHD_OPTION_CONNECTION_LIMIT, 16u, MHD_OPTION_CONNECTION_TIMEOUT, 10u,
				   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
	r = errno ? -errno : -EIO;
	freeaddrinfo(where);
	return m->http ? 0 : err_errno(e, r, "metrics on %.128s", address);
}

void metrics_stop(struct metrics *m)
{
	if (m->http)
		MHD_stop_daemon(m->http);
	m->http = NULL;
}
