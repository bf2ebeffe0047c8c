/* SPDX-License-Identifier: Apache-2.0
 * Packets in and out of the queues, and which stream they belong to. Control packets go before payload: a
 * response must not be overtaken by the bytes behind it. */
#include "device.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RX, TX }; /* the guest's view: we fill RX and drain TX; the event queue stays silent */

#define FIRST_HOST_PORT (1u << 30)
/* A full backlog makes connect(2) wait; at once it would look like nobody there. */
#define CONNECT_SECONDS 2

struct control {
	STAILQ_ENTRY(control) entry;
	struct virtio_vsock_hdr header;
};

static struct virtio_vsock_hdr header_of(struct device *d, struct stream *s, uint16_t op, uint32_t flags,
					 size_t n)
{
	s->told = s->passed;
	return (struct virtio_vsock_hdr){
		.src_cid = VMADDR_CID_HOST,
		.dst_cid = d->guest_cid,
		.src_port = s->host_port,
		.dst_port = s->guest_port,
		.len = (uint32_t)n,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = STREAM_BUFFER,
		.fwd_cnt = s->passed,
	};
}

static void queue_control(struct device *d, const struct virtio_vsock_hdr *h)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c) {
		d->broken = true;
		return;
	}
	c->header = *h;
	STAILQ_INSERT_TAIL(&d->controls, c, entry);
	d->n_controls++;
}

static void control(void *arg, struct stream *s, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr h = header_of(arg, s, op, flags, 0);

	queue_control(arg, &h);
}

static int rx_chain(struct device *d, struct chain *out)
{
	struct virtqueue *q = &d->vhost->queues[RX];
	int r;

	if (!virtqueue_ready(q))
		return VIRTQUEUE_EMPTY;
	r = virtqueue_peek(q, &d->vhost->memory, true, out);
	if (r == 0 && out->size <= sizeof(struct virtio_vsock_hdr))
		r = -EPROTO;
	d->broken |= r < 0;
	return r < 0 ? VIRTQUEUE_EMPTY : r;
}

static void flush_controls(struct device *d)
{
	struct control *c;
	struct chain chain;

	while ((c = STAILQ_FIRST(&d->controls)) && rx_chain(d, &chain) == 0) {
		(void)chain_write(&chain, 0, &c->header, sizeof(c->header));
		virtqueue_push(&d->vhost->queues[RX], &chain, sizeof(c->header));
		STAILQ_REMOVE_HEAD(&d->controls, entry);
		free(c);
		d->n_controls--;
	}
}

static int room(void *arg, struct chain *out)
{
	struct device *d = arg;

	flush_controls(d);
	if (!STAILQ_EMPTY(&d->controls) || rx_chain(d, out) != 0) {
		d->starved = true;
		return VIRTQUEUE_EMPTY;
	}
	return 0;
}

static void send_payload(void *arg, struct stream *s, const struct chain *c, size_t n)
{
	struct device *d = arg;
	struct virtio_vsock_hdr h = header_of(d, s, VIRTIO_VSOCK_OP_RW, 0, n);

	(void)chain_write(c, 0, &h, sizeof(h));
	virtqueue_push(&d->vhost->queues[RX], c, (uint32_t)(sizeof(h) + n));
}

static const struct stream_ops ops = {.control = control, .room = room, .send = send_payload};

/* A connected socket of `<path>_<port>`, or -1. */
static int connect_port(const struct device *d, uint32_t port)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = CONNECT_SECONDS};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", d->path, port) >= (int)sizeof(a.sun_path))
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -1;
	return take_fd(&fd);
}

static struct stream *find(struct device *d, uint32_t host_port, uint32_t guest_port)
{
	struct stream *s;

	LIST_FOREACH(s, &d->streams, entry)
	if ((s->state == STREAM_OPEN || s->state == STREAM_ASKED) && s->host_port == host_port &&
	    s->guest_port == guest_port)
		return s;
	return NULL;
}

/* A packet for a connection that is not there: a request makes one, anything else is told so. */
static void first_packet(struct device *d, const struct virtio_vsock_hdr *h)
{
	struct stream refused = {.host_port = h->dst_port, .guest_port = h->src_port};
	struct stream *s = NULL;
	int fd = -1;

	if (h->op == VIRTIO_VSOCK_OP_RST)
		return;
	if (h->op == VIRTIO_VSOCK_OP_REQUEST && h->type == VIRTIO_VSOCK_TYPE_STREAM)
		fd = connect_port(d, h->dst_port);
	if (fd >= 0)
		s = stream_new(fd, d->epoll, STREAM_OPEN, &ops, d);
	if (!s) {
		control(d, &refused, VIRTIO_VSOCK_OP_RST, 0);
		return;
	}
	s->host_port = h->dst_port;
	s->guest_port = h->src_port;
	s->guest_buffer = h->buf_alloc;
	s->guest_passed = h->fwd_cnt;
	LIST_INSERT_HEAD(&d->streams, s, entry);
	control(d, s, VIRTIO_VSOCK_OP_RESPONSE, 0);
}

static void packet(struct device *d, const struct chain *c)
{
	struct virtio_vsock_hdr h;
	struct stream *s;

	if (chain_read(c, 0, &h, sizeof(h)) < sizeof(h) || h.len > c->size - sizeof(h) ||
	    h.dst_cid != VMADDR_CID_HOST || h.src_cid != d->guest_cid)
		return;
	s = find(d, h.dst_port, h.src_port);
	if (s)
		stream_packet(s, &h, c);
	else
		first_packet(d, &h);
}

static void drain(struct device *d)
{
	struct virtqueue *q = &d->vhost->queues[TX];
	struct chain c;
	int r = 0;

	if (!virtqueue_ready(q))
		return;
	virtqueue_want_kicks(q, false);
	for (bool again = false;; again = true) {
		while (d->n_controls < DEVICE_CONTROL_MAX &&
		       (r = virtqueue_peek(q, &d->vhost->memory, false, &c)) == 0) {
			packet(d, &c);
			virtqueue_push(q, &c, 0);
		}
		if (again)
			break;
		/* what came before kicks were wanted again has not kicked */
		virtqueue_want_kicks(q, true);
	}
	d->broken |= r < 0;
}

void device_kick(struct device *d, int queue)
{
	struct stream *s;

	if (queue != RX || !d->starved)
		return;
	d->starved = false;
	LIST_FOREACH(s, &d->streams, entry)
	stream_resume(s);
}

int device_run(struct device *d)
{
	struct stream *s = LIST_FIRST(&d->streams), *next;

	drain(d);
	flush_controls(d);
	drain(d); /* what had to wait for the control packets */
	for (int i = RX; i <= TX; i++)
		if (virtqueue_ready(&d->vhost->queues[i]))
			virtqueue_notify(&d->vhost->queues[i]);
	for (; s; s = next) {
		next = LIST_NEXT(s, entry);
		if (s->state == STREAM_DEAD) {
			LIST_REMOVE(s, entry);
			stream_free(s);
		}
	}
	return d->broken ? -EPROTO : 0;
}

void device_accept(struct device *d, int fd)
{
	struct stream *s = stream_new(fd, d->epoll, STREAM_LINE, &ops, d);

	if (s)
		LIST_INSERT_HEAD(&d->streams, s, entry);
}

void device_stream_ready(struct device *d, struct stream *s, uint32_t events)
{
	stream_ready(s, events, &d->next_port);
}

void device_init(struct device *d, struct vhost_user *v, uint64_t guest_cid, const char *path, int epoll)
{
	*d = (struct device){.vhost = v,
			     .guest_cid = guest_cid,
			     .path = path,
			     .epoll = epoll,
			     .next_port = FIRST_HOST_PORT};
	LIST_INIT(&d->streams);
	STAILQ_INIT(&d->controls);
}

void device_deinit(struct device *d)
{
	struct stream *s;
	struct control *c;

	while ((s = LIST_FIRST(&d->streams))) {
		LIST_REMOVE(s, entry);
		stream_free(s);
	}
	while ((c = STAILQ_FIRST(&d->controls))) {
		STAILQ_REMOVE_HEAD(&d->controls, entry);
		free(c);
	}
}
