/* SPDX-License-Identifier: Apache-2.0
 * What the relay's files share: a relay accepts (relay.c), a connection reads and hands on
 * (relay_connection.c), a call is the own method under way (relay_call.c). */
#ifndef COCOON_GUESTFS_PODS_RELAY_INTERNAL_H
#define COCOON_GUESTFS_PODS_RELAY_INTERNAL_H

#include "guestfs/pods/relay.h"
#include "proto/ttrpc/frame.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

struct connection {
	LIST_ENTRY(connection) entry; /* the relay's lock guards it */
	struct relay *relay;
	int caller;
	pthread_t thread; /* reads what the caller says */
	bool ended;	  /* the relay's lock; the thread is done and can be joined */

	pthread_mutex_t
		hand; /* guards what follows, and keeps frames to the one behind whole; before `lock` */
	bool has_answers;
	pthread_t answers; /* reads what the one behind says */

	pthread_mutex_t lock;		 /* guards what follows, and keeps frames to the caller whole */
	int behind;			 /* -1: no connection, or one that broke */
	uint32_t streams[RELAY_STREAMS]; /* an answer from behind is owed to these */
	size_t n_streams;
	unsigned int n_calls; /* threads of the own method */
	pthread_cond_t no_calls;
};

struct relay {
	struct relay_options options;
	int listener, wake;
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows; taken before a connection's */
	LIST_HEAD(, connection) connections;
	unsigned int n_connections, n_calls;
};

/* A connection with its thread, for a caller's descriptor, which is owned in any case. NULL when there is no
 * memory or no thread. */
struct connection *connection_start(struct relay *r, int fd);
/* Its thread has ended, or does so now. */
void connection_join(struct connection *c);

/* Any thread. */
void connection_answer(struct connection *c, uint32_t stream, const struct ttrpc_response *response);
void connection_refuse(struct connection *c, uint32_t stream, enum ttrpc_code code, const char *words);
/* Give a frame to the one behind, or refuse it. Any thread. */
void connection_hand_on(struct connection *c, const struct ttrpc_frame *f);

/* Begin a call of the own method; takes the frame over. -EBUSY, -EAGAIN, -ENOMEM: it is still the caller's.
 */
int call_start(struct connection *c, struct ttrpc_frame *f, const struct ttrpc_request *request);

/* A connection's thread is done: it is to be joined. */
void relay_note_end(struct connection *c);

#endif
