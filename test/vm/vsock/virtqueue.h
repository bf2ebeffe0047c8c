/* SPDX-License-Identifier: Apache-2.0
 * The device's side of one split virtqueue (virtio 1.2, 2.7), without indirect descriptors and event indices,
 * which are not offered. Chains that make no sense are an error: the driver is broken. One thread. */
#ifndef COCOON_TEST_VM_VIRTQUEUE_H
#define COCOON_TEST_VM_VIRTQUEUE_H

#include "guest_memory.h"

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <sys/uio.h>

#define CHAIN_PARTS_MAX 64 /* descriptors; Linux's virtio_vsock uses one or two */

/* A named answer. */
enum { VIRTQUEUE_EMPTY = 1 };

struct virtqueue {
	unsigned int size;	 /* entries, a power of two; 0: not told yet */
	uint16_t next;		 /* of the available ring */
	int kick, call;		 /* eventfds, owned; -1 */
	bool enabled, used_any;	 /* used_any: since the last virtqueue_notify() */
	struct vring_desc *desc; /* guest memory; NULL: not mapped */
	struct vring_avail *avail;
	struct vring_used *used;
};

struct chain {
	uint16_t head;
	int n;
	size_t size; /* of all parts, bytes */
	struct iovec parts[CHAIN_PARTS_MAX];
};

bool virtqueue_ready(const struct virtqueue *q);
/* The next available chain, which stays there until virtqueue_push(). `writable`: by the device. 0,
 * VIRTQUEUE_EMPTY, -EPROTO. */
int virtqueue_peek(const struct virtqueue *q, const struct guest_memory *m, bool writable, struct chain *out);
/* Done with the chain that was peeked; `written` bytes of it are new. */
void virtqueue_push(struct virtqueue *q, const struct chain *c, uint32_t written);
/* Tell the driver about what was pushed, if it wants to know. */
void virtqueue_notify(struct virtqueue *q);
/* Whether the driver is to kick when it makes chains available. */
void virtqueue_want_kicks(struct virtqueue *q, bool wanted);

/* Copy between a chain, from byte `at` on, and memory; how many bytes there were. */
size_t chain_read(const struct chain *c, size_t at, void *to, size_t n);
size_t chain_write(const struct chain *c, size_t at, const void *from, size_t n);
/* The part [at, at + n) of a chain as vectors; their number. */
int chain_slice(const struct chain *c, size_t at, size_t n, struct iovec out[static CHAIN_PARTS_MAX]);

#endif
