/* SPDX-License-Identifier: Apache-2.0
 * Messages: a header, a payload of at most what we know, descriptors beside it. What is not ours to answer is
 * acknowledged and ignored, as the specification wants. */
#include "vhost_user.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>

/* Numbers of vhost-user.rst, "Front-end message types" and "Protocol features". */
enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_REQ_FD = 21,
	GET_CONFIG = 24,
};

#define F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define P_MQ (UINT64_C(1) << 0)
#define P_REPLY_ACK (UINT64_C(1) << 3)
#define P_BACKEND_REQ (UINT64_C(1) << 5) /* unused by us; virtio_uml has interrupts only with it */
#define P_CONFIG (UINT64_C(1) << 9)

#define FLAG_VERSION 1u
#define FLAG_REPLY (1u << 2)
#define FLAG_NEED_REPLY (1u << 3)

#define QUEUE_MASK 0xffu
#define NO_DESCRIPTOR (1u << 8)

struct header {
	uint32_t request, flags, size;
};

/* The payloads that are looked into, as they lie in memory: all fields are aligned. */
struct region {
	uint64_t physical, size, frontend, offset;
};

union payload {
	uint64_t number;
	struct {
		uint32_t queue, number;
	} state;
	struct {
		uint32_t queue, flags;
		uint64_t desc, used, avail, log;
	} addresses;
	struct {
		uint32_t n, padding;
		struct region regions[GUEST_MEMORY_REGIONS];
	} table;
	struct {
		uint32_t offset, size, flags;
		uint8_t data[256];
	} config;
	uint8_t bytes[512];
};

struct message {
	struct header header;
	union payload payload;
	size_t n_fds;
	int fds[GUEST_MEMORY_REGIONS]; /* owned; -1 when taken */
};

static void close_fds(struct message *m)
{
	for (size_t i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			(void)close(m->fds[i]);
}

static void take_fds(struct message *m, struct msghdr *from)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(from); c; c = CMSG_NXTHDR(from, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		m->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
	}
}

static int receive(int fd, struct message *m)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(m->fds))];
	} control;
	struct iovec iov = {&m->header, sizeof(m->header)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL);

	m->n_fds = 0;
	if (n <= 0)
		return n == 0 ? -ECONNRESET : -errno;
	take_fds(m, &msg);
	memset(&m->payload, 0, sizeof(m->payload));
	if ((size_t)n != sizeof(m->header) || m->header.size > sizeof(m->payload))
		return -EPROTO;
	return m->header.size > 0 ? read_full(fd, &m->payload, m->header.size) : 0;
}

static int reply(int fd, struct message *m, size_t size)
{
	uint8_t raw[sizeof(m->header) + sizeof(m->payload)];

	m->header.flags = FLAG_VERSION | FLAG_REPLY;
	m->header.size = (uint32_t)size;
	memcpy(raw, &m->header, sizeof(m->header));
	memcpy(raw + sizeof(m->header), &m->payload, size);
	return write_full(fd, raw, sizeof(m->header) + size);
}

static int reply_number(int fd, struct message *m, uint64_t number)
{
	m->payload.number = number;
	return reply(fd, m, sizeof(number));
}

static void find_rings(struct vhost_user *v, size_t i)
{
	struct virtqueue *q = &v->queues[i];
	uint64_t n = q->size;

	q->desc = guest_memory_at(&v->memory, GUEST_FRONTEND, v->addresses[i].desc, n * 16);
	q->avail = guest_memory_at(&v->memory, GUEST_FRONTEND, v->addresses[i].avail, 4 + n * 2);
	q->used = guest_memory_at(&v->memory, GUEST_FRONTEND, v->addresses[i].used, 4 + n * 8);
}

/* Queues may be in use by then: they are found again in the new memory. */
static int set_memory(struct vhost_user *v, const struct message *m)
{
	struct guest_region regions[GUEST_MEMORY_REGIONS];
	size_t n = m->payload.table.n;
	int r;

	if (n > GUEST_MEMORY_REGIONS || n != m->n_fds)
		return -EPROTO;
	for (size_t i = 0; i < n; i++) {
		const struct region *from = &m->payload.table.regions[i];

		regions[i] =
			(struct guest_region){from->physical, from->size, from->frontend, from->offset, NULL};
	}
	r = guest_memory_set(&v->memory, regions, m->fds, n);
	for (size_t i = 0; i < VHOST_QUEUES; i++)
		if (v->queues[i].desc)
			find_rings(v, i);
	return r;
}

static int set_addresses(struct vhost_user *v, size_t i, const struct message *m)
{
	const struct virtqueue *q = &v->queues[i];

	v->addresses[i].desc = m->payload.addresses.desc;
	v->addresses[i].avail = m->payload.addresses.avail;
	v->addresses[i].used = m->payload.addresses.used;
	find_rings(v, i);
	return q->size > 0 && q->desc && q->avail && q->used ? 0 : -EPROTO;
}

static void set_kick(struct vhost_user *v, int queue, int fd)
{
	struct virtqueue *q = &v->queues[queue];
	int old = q->kick;

	q->kick = fd;
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	v->kick_changed(v->arg, queue, old, fd);
	if (old >= 0)
		(void)close(old);
}

static void set_call(struct virtqueue *q, int fd)
{
	if (q->call >= 0)
		(void)close(q->call);
	q->call = fd;
}

/* Messages about one queue. 1: not one of them. */
static int queue_message(struct vhost_user *v, struct message *m)
{
	bool with_fd = m->header.request == SET_VRING_KICK || m->header.request == SET_VRING_CALL;
	uint32_t number = with_fd ? m->payload.number & QUEUE_MASK : m->payload.state.queue;
	struct virtqueue *q = &v->queues[number < VHOST_QUEUES ? number : 0];
	int fd = -1;

	if (m->header.request < SET_VRING_NUM ||
	    (m->header.request > SET_VRING_CALL && m->header.request != SET_VRING_ENABLE))
		return 1;
	if (number >= VHOST_QUEUES)
		return -EPROTO;
	if (with_fd && m->n_fds == 1 && !(m->payload.number & NO_DESCRIPTOR))
		fd = take_fd(&m->fds[0]);
	switch (m->header.request) {
	case SET_VRING_NUM:
		if (m->payload.state.number > 32768 || !m->payload.state.number ||
		    (m->payload.state.number & (m->payload.state.number - 1)))
			return -EPROTO;
		q->size = m->payload.state.number;
		return 0;
	case SET_VRING_ADDR:
		return set_addresses(v, number, m);
	case SET_VRING_BASE:
		q->next = (uint16_t)m->payload.state.number;
		return 0;
	case GET_VRING_BASE: /* the queue stops with it */
		m->payload.state.number = q->next;
		q->desc = NULL;
		set_kick(v, (int)number, -1);
		return reply(v->fd, m, sizeof(m->payload.state));
	case SET_VRING_KICK:
		set_kick(v, (int)number, fd);
		return 0;
	case SET_VRING_CALL:
		set_call(q, fd);
		return 0;
	default:
		q->enabled = m->payload.state.number != 0;
		return 0;
	}
}

static int get_config(struct vhost_user *v, struct message *m)
{
	uint32_t offset = m->payload.config.offset, size = m->payload.config.size;

	if (offset > v->config_size || size > v->config_size - offset ||
	    size > sizeof(m->payload.config.data))
		return -EPROTO;
	memcpy(m->payload.config.data, (const uint8_t *)v->config + offset, size);
	return reply(v->fd, m, offsetof(union payload, config.data) + size);
}

/* 0 says that a reply may still be due, 1 that it was sent. */
static int device_message(struct vhost_user *v, struct message *m)
{
	int r;

	switch (m->header.request) {
	case GET_FEATURES:
		r = reply_number(v->fd, m, UINT64_C(1) << VIRTIO_F_VERSION_1 | F_PROTOCOL_FEATURES);
		break;
	case GET_PROTOCOL_FEATURES:
		r = reply_number(v->fd, m, P_MQ | P_REPLY_ACK | P_BACKEND_REQ | P_CONFIG);
		break;
	case GET_QUEUE_NUM:
		r = reply_number(v->fd, m, VHOST_QUEUES);
		break;
	case GET_CONFIG:
		r = get_config(v, m);
		break;
	case SET_MEM_TABLE:
		return set_memory(v, m);
	case SET_BACKEND_REQ_FD: /* its end is an error to QEMU */
		if (m->n_fds == 1 && v->request_fd < 0)
			v->request_fd = take_fd(&m->fds[0]);
		return 0;
	case SET_FEATURES:
		/* without protocol features queues need not be enabled one by one */
		if (!(m->payload.number & F_PROTOCOL_FEATURES))
			for (size_t i = 0; i < VHOST_QUEUES; i++)
				v->queues[i].enabled = true;
		return 0;
	default:
		return 0;
	}
	return r < 0 ? r : 1;
}

int vhost_user_message(struct vhost_user *v)
{
	struct message m;
	bool need_reply;
	int r = receive(v->fd, &m);

	need_reply = r == 0 && (m.header.flags & FLAG_NEED_REPLY) && m.header.request != GET_VRING_BASE;
	if (r == 0)
		r = queue_message(v, &m);
	if (r == 1)
		r = device_message(v, &m);
	if (r == 0 && need_reply)
		r = reply_number(v->fd, &m, 0);
	close_fds(&m);
	return r < 0 ? r : 0;
}

void vhost_user_init(struct vhost_user *v, int fd)
{
	*v = (struct vhost_user){.fd = fd, .request_fd = -1};
	for (size_t i = 0; i < VHOST_QUEUES; i++)
		v->queues[i].kick = v->queues[i].call = -1;
}

void vhost_user_deinit(struct vhost_user *v)
{
	for (int i = 0; i < VHOST_QUEUES; i++) {
		set_kick(v, i, -1);
		set_call(&v->queues[i], -1);
	}
	guest_memory_clear(&v->memory);
	if (v->request_fd >= 0)
		(void)close(v->request_fd);
	(void)close(v->fd);
}
