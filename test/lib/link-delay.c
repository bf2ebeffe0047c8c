/* SPDX-License-Identifier: Apache-2.0
 * link-delay: a cable that is long. Two network interfaces, one here and one in another network namespace; a
 * packet that goes into one comes out of the other a fixed time later, in order, however many are under way.
 * Packets are as large as the stack makes them (segmentation offload), so that throughput is the machine's.
 *
 *   link-delay NETNS-FILE HERE THERE MICROSECONDS      names of the interfaces; ends with SIGTERM */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 4096, SLOT_BYTES = 65536 + 128 };

/* One direction: a ring of packets, each with the time at which it is due. */
struct lane {
	int from, to;
	uint64_t first, next; /* slots ever sent, ever filled */
	int64_t due_ns[SLOTS];
	size_t len[SLOTS];
	char *packets;
};

static int64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int tun_open(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int size = sizeof(struct virtio_net_hdr);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
		err(1, "interface %s", name);
	return fd;
}

/* What came in waits for its time. A full ring leaves packets with the kernel, which drops them as a router
 * does. */
static void lane_fill(struct lane *l, int64_t delay_ns)
{
	while (l->next - l->first < SLOTS) {
		size_t slot = l->next % SLOTS;
		ssize_t n = read(l->from, l->packets + slot * SLOT_BYTES, SLOT_BYTES);

		if (n <= 0)
			return;
		l->len[slot] = (size_t)n;
		l->due_ns[slot] = now_ns() + delay_ns;
		l->next++;
	}
}

/* When the next one is due; INT64_MAX: none waits. */
static int64_t lane_drain(struct lane *l)
{
	while (l->first < l->next) {
		size_t slot = l->first % SLOTS;

		if (l->due_ns[slot] > now_ns())
			return l->due_ns[slot];
		/* a packet that the other side refuses is lost, as on any network */
		if (write(l->to, l->packets + slot * SLOT_BYTES, l->len[slot]) < 0)
			warn("a packet of %zu bytes", l->len[slot]);
		l->first++;
	}
	return INT64_MAX;
}

int main(int argc, char **argv)
{
	static struct lane lanes[2];
	struct pollfd fds[2];
	int64_t delay_ns;
	int netns;

	if (argc != 5)
		errx(2, "usage: link-delay NETNS-FILE HERE THERE MICROSECONDS");
	delay_ns = strtoll(argv[4], NULL, 10) * 1000;
	lanes[0].from = lanes[1].to = tun_open(argv[2]);
	netns = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
		err(1, "%s", argv[1]);
	lanes[1].from = lanes[0].to = tun_open(argv[3]);
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	for (int i = 0; i < 2; i++) {
		lanes[i].packets = mmap(NULL, (size_t)SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (lanes[i].packets == MAP_FAILED)
			err(1, "memory");
		fds[i] = (struct pollfd){.fd = lanes[i].from};
	}
	for (;;) {
		int64_t due = INT64_MAX;
		struct timespec wait = {0};

		for (int i = 0; i < 2; i++) {
			int64_t at;

			lane_fill(&lanes[i], delay_ns);
			at = lane_drain(&lanes[i]);
			due = at < due ? at : due;
			fds[i].events = lanes[i].next - lanes[i].first < SLOTS ? POLLIN : 0;
		}
		if (due < INT64_MAX) {
			int64_t left = due - now_ns();

			wait.tv_sec = left > 0 ? left / 1000000000 : 0;
			wait.tv_nsec = left > 0 ? left % 1000000000 : 0;
		}
		(void)ppoll(fds, 2, due < INT64_MAX ? &wait : NULL, NULL);
	}
}
