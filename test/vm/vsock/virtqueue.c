/* SPDX-License-Identifier: Apache-2.0
 * Ring indices are shared with the guest's driver: loaded with acquire, stored with release, and a full fence
 * between changing a flag and looking again (virtio 1.2, 2.7.13). */
#include "virtqueue.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static uint16_t load(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

bool virtqueue_ready(const struct virtqueue *q)
{
	return q->enabled && q->kick >= 0 && q->size > 0 && q->desc && q->avail && q->used;
}

int virtqueue_peek(const struct virtqueue *q, const struct guest_memory *m, bool writable, struct chain *out)
{
	uint16_t at;

	if (load(&q->avail->idx) == q->next)
		return VIRTQUEUE_EMPTY;
	at = q->avail->ring[q->next % q->size];
	*out = (struct chain){.head = at};
	for (;;) {
		struct vring_desc d;

		if (at >= q->size || out->n == CHAIN_PARTS_MAX)
			return -EPROTO;
		d = q->desc[at];
		if (((d.flags & VRING_DESC_F_WRITE) != 0) != writable)
			return -EPROTO;
		out->parts[out->n].iov_base = guest_memory_at(m, GUEST_PHYSICAL, d.addr, d.len);
		out->parts[out->n].iov_len = d.len;
		if (!out->parts[out->n].iov_base)
			return -EPROTO;
		out->size += d.len;
		out->n++;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		at = d.next;
	}
}

void virtqueue_push(struct virtqueue *q, const struct chain *c, uint32_t written)
{
	uint16_t at = q->used->idx; /* only we write it */

	q->used->ring[at % q->size] = (struct vring_used_elem){.id = c->head, .len = written};
	__atomic_store_n(&q->used->idx, (uint16_t)(at + 1), __ATOMIC_RELEASE);
	q->next++;
	q->used_any = true;
}

void virtqueue_notify(struct virtqueue *q)
{
	uint64_t one = 1;

	if (!q->used_any)
		return;
	q->used_any = false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->call >= 0 && !(load(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT))
		(void)!write(q->call, &one, sizeof(one));
}

void virtqueue_want_kicks(struct virtqueue *q, bool wanted)
{
	__atomic_store_n(&q->used->flags, wanted ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

int chain_slice(const struct chain *c, size_t at, size_t n, struct iovec out[static CHAIN_PARTS_MAX])
{
	int count = 0;

	for (int i = 0; i < c->n && n > 0; i++) {
		size_t part = c->parts[i].iov_len;

		if (at >= part) {
			at -= part;
			continue;
		}
		part -= at;
		if (part > n)
			part = n;
		out[count].iov_base = (uint8_t *)c->parts[i].iov_base + at;
		out[count++].iov_len = part;
		at = 0;
		n -= part;
	}
	return count;
}

size_t chain_read(const struct chain *c, size_t at, void *to, size_t n)
{
	struct iovec v[CHAIN_PARTS_MAX];
	int count = chain_slice(c, at, n, v);
	size_t done = 0;

	for (int i = 0; i < count; done += v[i++].iov_len)
		memcpy((uint8_t *)to + done, v[i].iov_base, v[i].iov_len);
	return done;
}

size_t chain_write(const struct chain *c, size_t at, const void *from, size_t n)
{
	struct iovec v[CHAIN_PARTS_MAX];
	int count = chain_slice(c, at, n, v);
	size_t done = 0;

	for (int i = 0; i < count; done += v[i++].iov_len)
		memcpy(v[i].iov_base, (const uint8_t *)from + done, v[i].iov_len);
	return done;
}
