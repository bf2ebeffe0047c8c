/* SPDX-License-Identifier: Apache-2.0
 * One vsock connection joined to one unix socket, with the flow control of virtio 1.2, 5.10.6.3: either side
 * says how many bytes it buffers and how many it has passed on. A stream knows nothing of rings; it asks for
 * packets to be sent through stream_ops. One thread. */
#ifndef COCOON_TEST_VM_STREAM_H
#define COCOON_TEST_VM_STREAM_H

#include "virtqueue.h"

#include <linux/virtio_vsock.h>
#include <sys/queue.h>

#define STREAM_BUFFER (256u << 10) /* what the guest may have under way to a slow reader */

enum stream_state {
	STREAM_LINE,  /* the host connected and has not said "CONNECT port" yet */
	STREAM_ASKED, /* a request was sent to the guest */
	STREAM_OPEN,
	STREAM_DEAD, /* to be freed */
};

struct stream;

struct stream_ops {
	/* Queue a packet without payload for the guest; it carries the stream's credit. */
	void (*control)(void *arg, struct stream *s, uint16_t op, uint32_t flags);
	/* Room for a packet to the guest. 0, or VIRTQUEUE_EMPTY when there is none now: stream_resume()
	 * follows.
	 */
	int (*room)(void *arg, struct chain *out);
	/* Send `room`, which has n bytes of payload behind the header. */
	void (*send)(void *arg, struct stream *s, const struct chain *room, size_t n);
};

struct stream {
	LIST_ENTRY(stream) entry; /* the owner's */
	enum stream_state state;
	int fd, epoll;	 /* fd: owned, -1 when the unix side is gone */
	uint32_t events; /* asked of epoll, which has the stream's address */
	const struct stream_ops *ops;
	void *arg;
	uint32_t host_port, guest_port;
	uint32_t guest_buffer, guest_passed, sent; /* the guest's side of the flow control */
	uint32_t passed, told;			   /* ours */
	uint8_t *pending; /* owned, STREAM_BUFFER bytes: not taken by the reader yet */
	size_t pending_at, pending_size;
	char line[32];
	size_t line_size;
	bool ended;		      /* the unix side sends no more */
	bool told_ended, told_gone;   /* and the guest knows */
	bool guest_ended, guest_deaf; /* the guest sends, receives no more */
	bool asked_credit;
};

LIST_HEAD(stream_list, stream);

/* For a connected, nonblocking descriptor, which is owned from then on. NULL: no memory. */
struct stream *stream_new(int fd, int epoll, enum stream_state state, const struct stream_ops *ops,
			  void *arg);
void stream_free(struct stream *s);

/* What epoll said. `next_port` is the port that a connection from the host gets. */
void stream_ready(struct stream *s, uint32_t events, uint32_t *next_port);
/* A packet of the guest for this stream, with its payload behind the header. */
void stream_packet(struct stream *s, const struct virtio_vsock_hdr *h, const struct chain *c);
/* There is room for packets again. */
void stream_resume(struct stream *s);

#endif
