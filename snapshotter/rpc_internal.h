/* SPDX-License-Identifier: Apache-2.0
 * What rpc_server.c (connections, threads, start and stop) and rpc_call.c (the life of one call) share. */
#ifndef COCOON_SNAPSHOTTER_RPC_INTERNAL_H
#define COCOON_SNAPSHOTTER_RPC_INTERNAL_H

#include "snapshotter/message.h"
#include "snapshotter/rpc_server.h"
#include "snapshotter/worker_pool.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#define N_POLLERS 2

enum event { NEW, CLOSED, SENT };

struct tag {
	enum event event;
	struct rpc *call;
};

struct rpc {
	struct job job;
	struct rpc_server *server;
	const struct rpc_method *method; /* NULL: a method that is not there */
	struct tag tags[3];
	atomic_uint refs;      /* batches in hand, plus the worker */
	atomic_bool cancelled; /* set by CLOSED, read by handlers: a hint */
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	gpr_timespec deadline;
	grpc_byte_buffer *request;
	int cancelled_by_core;
	struct arena arena; /* of the decoded request */
	grpc_byte_buffer **answers;
	size_t n_answers, n_sent;
	int status;
	const char *name; /* static, for `finished` */
	struct err words;
};

struct rpc_server {
	struct rpc_server_options options;
	grpc_server *core;
	grpc_completion_queue *queue;
	void **registered; /* one for each method */
	struct worker_pool *workers;
	pthread_t pollers[N_POLLERS], acceptor;
	unsigned n_pollers;
	bool accepting;
	int listener, stop_event;
	struct tag stopped;   /* the tag of shutdown; its address is what counts */
	pthread_mutex_t lock; /* guards has_stopped */
	pthread_cond_t wake;
	bool has_stopped;
};

/* Debian's core is not instrumented, so ThreadSanitizer does not see that an event happens after what was
 * handed to core. One atomic on both sides of the queue shows it; other builds do not have it. */
#if defined(__SANITIZE_THREAD__)
#define COCOON_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COCOON_TSAN 1
#endif
#endif
#ifdef COCOON_TSAN
extern atomic_uint tsan_fence; /* rpc_call.c */
#define SHOW_ORDER() ((void)atomic_fetch_add(&tsan_fence, 1))
#else
#define SHOW_ORDER() ((void)0)
#endif

/* Ask core for the next call of this method; NULL: of any that is not registered. */
void rpc_request_next(struct rpc_server *s, const struct rpc_method *method);
/* A batch has ended. */
void rpc_event(struct tag *tag, bool success);

#endif
