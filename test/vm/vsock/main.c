/* SPDX-License-Identifier: Apache-2.0
 * vm-vsock: gives a virtual machine of QEMU or user-mode Linux a virtio socket device whose host side is unix
 * sockets. For machines without vhost-vsock, which is most machines that run tests. Ends with the machine. */
#include "device.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS 64
#define BACKLOG 128 /* a full backlog looks like a reset to who connects */

static const char help[] =
	"usage: vm-vsock [--cid N] VHOST PATH\n"
	"\n"
	"  VHOST  where the virtual machine connects: QEMU's -chardev socket,id=v,path=VHOST with\n"
	"         -device vhost-user-vsock-pci,chardev=v, user-mode Linux' virtio_uml.device=VHOST:19\n"
	"  PATH   the guest's connections to port P of CID 2 go to the unix socket PATH_P; who connects to "
	"PATH and\n"
	"         says \"CONNECT P\" on a line reaches the guest's port P, after an answer \"OK n\"\n"
	"  N      the guest's CID (default 3)\n"
	"\n"
	"Prints \"ready\" when both sockets are there. Exit status 0 when the machine has ended, 1 for a "
	"failure.\n";

/* What epoll's data points at, unless it is a stream. */
enum source { FRONTEND, LISTENER, KICK_0, N_SOURCES = KICK_0 + VHOST_QUEUES };
static char sources[N_SOURCES];

struct program {
	int epoll;
	struct vhost_user vhost;
	struct device device;
};

static int listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path));
	(void)unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static void watch(const struct program *p, int fd, enum source source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &sources[source]};

	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		perror("vm-vsock: epoll");
		exit(1);
	}
}

static void kick_changed(void *arg, int queue, int old, int new)
{
	const struct program *p = arg;

	if (old >= 0)
		(void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, old, NULL);
	if (new >= 0)
		watch(p, new, KICK_0 + (unsigned int)queue);
}

static void kicked(struct program *p, int queue)
{
	uint64_t count;

	(void)!read(p->vhost.queues[queue].kick, &count, sizeof(count));
	device_kick(&p->device, queue);
}

/* One round of events. -ECONNRESET when the machine has ended. */
static int turn(struct program *p, int listener)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(p->epoll, events, EVENTS, -1), r = 0;

	for (int i = 0; i < n && r == 0; i++) {
		const char *at = events[i].data.ptr;

		if (at == &sources[FRONTEND])
			r = vhost_user_message(&p->vhost);
		else if (at == &sources[LISTENER])
			device_accept(&p->device,
				      accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
		else if (at >= &sources[KICK_0] && at < &sources[N_SOURCES])
			kicked(p, (int)(at - &sources[KICK_0]));
		else
			device_stream_ready(&p->device, events[i].data.ptr, events[i].events);
	}
	return r < 0 ? r : device_run(&p->device);
}

static int serve(const char *vhost_path, const char *path, uint64_t cid)
{
	struct virtio_vsock_config config = {.guest_cid = cid};
	struct program p = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
	cleanup_close int listener = listen_at(path), waiting = listen_at(vhost_path);
	int fd, r = 0;

	if (p.epoll < 0 || listener < 0 || waiting < 0) {
		(void)fprintf(stderr, "vm-vsock: %s\n", strerror(listener < 0 ? -listener : -waiting));
		return 1;
	}
	(void)puts("ready");
	(void)fflush(stdout);
	fd = accept4(waiting, NULL, NULL, SOCK_CLOEXEC);
	(void)unlink(vhost_path);
	if (fd < 0)
		return 1;
	vhost_user_init(&p.vhost, fd);
	p.vhost.config = &config;
	p.vhost.config_size = sizeof(config);
	p.vhost.kick_changed = kick_changed;
	p.vhost.arg = &p;
	device_init(&p.device, &p.vhost, cid, path, p.epoll);
	watch(&p, fd, FRONTEND);
	watch(&p, listener, LISTENER);
	while (r == 0)
		r = turn(&p, listener);
	device_deinit(&p.device);
	vhost_user_deinit(&p.vhost);
	(void)close(p.epoll);
	(void)unlink(path);
	if (r == -ECONNRESET)
		return 0;
	(void)fprintf(stderr, "vm-vsock: %s\n", strerror(-r));
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"cid", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	uint64_t cid = 3;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'c') {
			(void)fputs(help, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
		cid = strtoull(optarg, NULL, 10);
	}
	if (argc - optind != 2) {
		(void)fputs(help, stderr);
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	return serve(argv[optind], argv[optind + 1], cid);
}
