/* SPDX-License-Identifier: Apache-2.0
 * What the daemon counts, in Prometheus' text format on an HTTP endpoint of its own: GET /metrics. Off unless
 * the configuration names an address; numbers only, no names of images. */
#ifndef COCOON_SNAPSHOTTER_METRICS_H
#define COCOON_SNAPSHOTTER_METRICS_H

#include "chunkstore/chunk_server.h"
#include "chunkstore/chunkstore.h"
#include "proto/base/err.h"
#include "snapshotter/local_road.h"

struct metrics;

/* What is asked at each scrape; all borrowed, and live longer than the endpoint. */
struct metrics_sources {
	struct chunkstore *store;
	struct chunk_server *server;
	struct local_road *road;
};

int metrics_new(struct metrics **out);
void metrics_free(struct metrics *m); /* NULL is fine */

/* Count one gRPC call: a `finished` of rpc_server.h. Any thread. */
void metrics_count_call(struct metrics *m, const char *path, const char *road, int status);

/* Serve on HOST:PORT until metrics_stop(). -EINVAL for a bad address; -EADDRINUSE and others. */
int metrics_start(struct metrics *m, const char *address, const struct metrics_sources *sources,
		  struct err *e);
void metrics_stop(struct metrics *m);

#endif
