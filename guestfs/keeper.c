/* SPDX-License-Identifier: Apache-2.0
 * Two socket pairs, as showing a mount can take as long as the host does, and the connection may have to be
 * made again meanwhile. A request is one byte, an answer one struct and perhaps a descriptor: nothing of the
 * first process, which may be a liar by now, goes into a path, an address or an option. */
#include "guestfs/keeper.h"
#include "guestfs/keeper_mount.h"
#include "guestfs/privileges.h"
#include "guestfs/wire_connection.h"
#include "proto/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

/* A stream is made without waiting. A keeper that ends while it shows a mount can keep its sockets open until
 * the mount's reads are answered, and those may want a new stream. */
#define CONNECT_SECONDS 10

enum request { CONNECT, DEVICE_BLOCK, DEVICE_LOOP, DEVICE_TREE, SHOW, UNMOUNT, UNMOUNT_LAZILY };

struct answer {
	int32_t result;
	int32_t kind; /* enum front_kind, of SHOW */
	char words[ERR_TEXT_MAX];
};

struct keeper {
	pid_t pid;
	int mounts, connections; /* our ends */
};

/* What the keeper itself has. */
struct keeping {
	pthread_mutex_t lock; /* guards the next two */
	struct keeper_mount mount;
	bool shown; /* and the first process knows it */
	struct address address;
	int mounts, connections; /* its ends */
};

/* A message with at most one descriptor. */
struct parcel {
	struct iovec io;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr m;
};

static void parcel_init(struct parcel *p, void *data, size_t size)
{
	*p = (struct parcel){.io = {data, size}};
	p->m = (struct msghdr){.msg_iov = &p->io, .msg_iovlen = 1};
}

static int answer_send(int channel, struct answer *a, int fd)
{
	struct parcel p;

	parcel_init(&p, a, sizeof(*a));
	if (fd >= 0) {
		struct cmsghdr *header = (struct cmsghdr *)(void *)p.control;

		*header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		p.m.msg_control = p.control;
		p.m.msg_controllen = sizeof(p.control);
	}
	return sendmsg(channel, &p.m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int answer_receive(int channel, struct answer *a, int *fd)
{
	struct cmsghdr *header;
	struct parcel p;
	ssize_t n;

	parcel_init(&p, a, sizeof(*a));
	p.m.msg_control = p.control;
	p.m.msg_controllen = sizeof(p.control);
	do
		n = recvmsg(channel, &p.m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*a)) {
		(void)shutdown(channel, SHUT_RDWR); /* a late answer is nobody's */
		return -EPIPE;
	}
	a->words[sizeof(a->words) - 1] = '\0';
	header = CMSG_FIRSTHDR(&p.m);
	*fd = -1;
	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return 0;
}

/* Ask, and wait for the answer: the keeper's own waits end by the deadlines of the reads that it causes. */
static int ask(int channel, enum request what, struct answer *a, int *fd, struct err *e)
{
	uint8_t request = (uint8_t)what;
	ssize_t sent;
	int r;

	do
		sent = send(channel, &request, 1, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	r = sent == 1 ? answer_receive(channel, a, fd) : -EPIPE;
	if (r < 0)
		return err_set(e, r, "the process that keeps the mount has ended");
	return a->result < 0 ? err_set(e, a->result, "%s", a->words) : 0;
}

static void serve_mount(struct keeping *k, enum request what, struct answer *a, int *fd, struct err *e)
{
	enum front_kind kind = FRONT_TREE;

	switch (what) {
	case DEVICE_BLOCK:
		a->result = keeper_mount_device(&k->mount, FRONT_BLOCK, fd, e);
		break;
	case DEVICE_LOOP:
		a->result = keeper_mount_device(&k->mount, FRONT_LOOP, fd, e);
		break;
	case DEVICE_TREE:
		a->result = keeper_mount_device(&k->mount, FRONT_TREE, fd, e);
		break;
	case SHOW:
		a->result = keeper_mount_show(&k->mount, &kind, e);
		a->kind = (int32_t)kind;
		break;
	case UNMOUNT:
	case UNMOUNT_LAZILY:
		a->result = keeper_mount_unmount(&k->mount, what == UNMOUNT_LAZILY);
		break;
	case CONNECT:
	default:
		a->result = -EINVAL;
	}
}

/* Go with the first process. A mount that it has shown stays, and fails; one on the way there was none yet.
 */
_Noreturn static void end(struct keeping *k)
{
	(void)pthread_mutex_lock(&k->lock);
	if (!k->shown)
		(void)keeper_mount_unmount(&k->mount, true);
	_exit(0);
}

static int answer_mount(struct keeping *k, enum request what)
{
	cleanup_close int fd = -1;
	struct answer a = {0};
	struct err e = {""};
	int r;

	(void)pthread_mutex_lock(&k->lock);
	serve_mount(k, what, &a, &fd, &e);
	(void)snprintf(a.words, sizeof(a.words), "%s", e.text);
	r = answer_send(k->mounts, &a, fd);
	k->shown = k->shown || (r == 0 && what == SHOW && a.result == 0);
	(void)pthread_mutex_unlock(&k->lock);
	return r;
}

static int answer_connect(struct keeping *k)
{
	struct err e = {""};
	cleanup_close int fd = wire_dial(&k->address, &e);
	struct answer a = {.result = fd < 0 ? fd : 0};

	(void)snprintf(a.words, sizeof(a.words), "%s", e.text);
	return answer_send(k->connections, &a, fd);
}

/* Answer until the first process has gone. */
_Noreturn static void serve(struct keeping *k, int channel)
{
	uint8_t request;
	int r = 0;

	while (r == 0) {
		ssize_t n = recv(channel, &request, 1, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n != 1)
			break;
		r = channel == k->mounts ? answer_mount(k, request) : answer_connect(k);
	}
	end(k);
}

static void *connections_thread(void *arg)
{
	struct keeping *k = arg;

	serve(k, k->connections);
}

/* Nothing of the caller's stays open: neither a lock that tells of its life nor a pipe that waits for its
 * end. */
static int leave_everything(struct keeping *k)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), low, high;

	if (null < 0)
		return -errno;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
	low = k->mounts < k->connections ? k->mounts : k->connections;
	high = k->mounts < k->connections ? k->connections : k->mounts;
	if (close_range(STDERR_FILENO + 1, (unsigned int)low - 1, 0) < 0)
		return -errno;
	if (high - low > 1 && close_range((unsigned int)low + 1, (unsigned int)high - 1, 0) < 0)
		return -errno;
	return close_range((unsigned int)high + 1, ~0u, 0) < 0 ? -errno : 0;
}

_Noreturn static void keep(struct keeping *k)
{
	pthread_t thread;

	(void)prctl(PR_SET_NAME, "cocoon-keeper");
	(void)prctl(PR_SET_PDEATHSIG, 0); /* it ends when the sockets say so */
	(void)!chdir("/");
	if (leave_everything(k) < 0 || privileges_keep_mounting(k->address.sa.sa_family) < 0 ||
	    pthread_create(&thread, NULL, connections_thread, k) != 0)
		_exit(1);
	serve(k, k->mounts);
}

static int channel(int *ours, int *its)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ours = pair[0];
	*its = pair[1];
	return 0;
}

int keeper_start(struct keeper **out, const struct keeper_options *options, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct keeping its = {.lock = PTHREAD_MUTEX_INITIALIZER,
			      .mount = {options->target, options->front, -1, 0, FRONT_AUTO},
			      .address = *options->address,
			      .mounts = -1,
			      .connections = -1};
	int r = k ? 0 : -ENOMEM;

	if (r < 0)
		return err_set(e, r, "out of memory");
	k->mounts = k->connections = -1;
	r = channel(&k->mounts, &its.mounts);
	if (r == 0)
		r = channel(&k->connections, &its.connections);
	if (r == 0 && setsockopt(k->connections, SOL_SOCKET, SO_RCVTIMEO,
				 &(struct timeval){.tv_sec = CONNECT_SECONDS}, sizeof(struct timeval)) < 0)
		r = -errno;
	if (r == 0)
		k->pid = fork();
	if (r == 0 && k->pid == 0)
		keep(&its);
	if (r == 0 && k->pid < 0)
		r = -errno;
	if (its.mounts >= 0)
		(void)close(its.mounts);
	if (its.connections >= 0)
		(void)close(its.connections);
	if (r < 0) {
		keeper_stop(k);
		return err_errno(e, r, "starting the process that keeps the mount");
	}
	*out = k;
	return 0;
}

void keeper_stop(struct keeper *k)
{
	if (!k)
		return;
	if (k->mounts >= 0)
		(void)close(k->mounts);
	if (k->connections >= 0)
		(void)close(k->connections);
	if (k->pid > 0)
		(void)waitpid(k->pid, NULL, 0);
	free(k);
}

int keeper_ended_fd(const struct keeper *k)
{
	return k->mounts;
}

int keeper_connect(void *keeper, struct err *e)
{
	const struct keeper *k = keeper;
	struct answer a;
	int fd = -1, r = ask(k->connections, CONNECT, &a, &fd, e);

	return r < 0 ? r : fd;
}

int keeper_device(struct keeper *k, enum front_kind kind, int *device, struct err *e)
{
	enum request what = kind == FRONT_TREE	 ? DEVICE_TREE
			    : kind == FRONT_LOOP ? DEVICE_LOOP
						 : DEVICE_BLOCK;
	struct answer a;

	return ask(k->mounts, what, &a, device, e);
}

int keeper_show(struct keeper *k, enum front_kind *kind, struct err *e)
{
	struct answer a;
	int none, r = ask(k->mounts, SHOW, &a, &none, e);

	if (r == 0)
		*kind = (enum front_kind)a.kind;
	return r;
}

int keeper_unmount(struct keeper *k, bool lazily)
{
	struct answer a;
	int none;

	return ask(k->mounts, lazily ? UNMOUNT_LAZILY : UNMOUNT, &a, &none, NULL);
}
