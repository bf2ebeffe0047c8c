/* SPDX-License-Identifier: Apache-2.0
 * A virtio socket device (virtio 1.2, 5.10) whose host side is unix sockets, as in Firecracker and Cloud
 * Hypervisor: a guest's connection to port P of CID 2 goes to the socket `<path>_<P>`, and who connects to
 * `<path>` and says "CONNECT P\n" reaches the guest's port P after "OK n\n". Stream sockets only. One thread.
 */
#ifndef COCOON_TEST_VM_DEVICE_H
#define COCOON_TEST_VM_DEVICE_H

#include "stream.h"
#include "vhost_user.h"

#define DEVICE_CONTROL_MAX 4096u /* packets that wait for room; the guest's next ones wait with them */

struct control;

STAILQ_HEAD(control_list, control);

struct device {
	struct vhost_user *vhost;
	uint64_t guest_cid;
	const char *path; /* borrowed */
	int epoll;	  /* borrowed; streams register themselves by their address */
	uint32_t next_port;
	struct stream_list streams;
	struct control_list controls;
	unsigned int n_controls;
	bool starved; /* streams wait for room */
	bool broken;  /* the guest's driver does what cannot be */
};

void device_init(struct device *d, struct vhost_user *v, uint64_t guest_cid, const char *path, int epoll);
void device_deinit(struct device *d);

/* A connection that was accepted on `path`; owned from then on. */
void device_accept(struct device *d, int fd);
void device_stream_ready(struct device *d, struct stream *s, uint32_t events);
/* The driver kicked queue 0 (it has room) … 2. */
void device_kick(struct device *d, int queue);
/* After any of these: move what can be moved and tell the driver. -EPROTO when it is broken. */
int device_run(struct device *d);

#endif
