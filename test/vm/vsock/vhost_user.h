/* SPDX-License-Identifier: Apache-2.0
 * The backend's side of vhost-user (QEMU's docs/interop/vhost-user.rst) for a device with three queues and a
 * configuration space: QEMU's vhost-user-vsock-pci and user-mode Linux's virtio_uml. One frontend, one
 * thread. */
#ifndef COCOON_TEST_VM_VHOST_USER_H
#define COCOON_TEST_VM_VHOST_USER_H

#include "virtqueue.h"

#define VHOST_QUEUES 3

struct vhost_user {
	int fd;		/* to the frontend, owned */
	int request_fd; /* for requests of ours, of which there are none; owned, -1 */
	struct guest_memory memory;
	struct virtqueue queues[VHOST_QUEUES];
	struct {
		uint64_t desc, avail, used; /* in the frontend's address space */
	} addresses[VHOST_QUEUES];
	const void *config; /* of config_size bytes, borrowed */
	size_t config_size;
	/* A queue's kick descriptor is another one, -1 for none; the old one is closed afterwards. */
	void (*kick_changed)(void *arg, int queue, int old, int new);
	void *arg;
};

/* Takes the connected descriptor. The caller fills in config and kick_changed afterwards. */
void vhost_user_init(struct vhost_user *v, int fd);
void vhost_user_deinit(struct vhost_user *v);

/* One message. 0; -ECONNRESET when the frontend is gone; another negative errno when it makes no sense. */
int vhost_user_message(struct vhost_user *v);

#endif
