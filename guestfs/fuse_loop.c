/* SPDX-License-Identifier: Apache-2.0
 * libfuse's own loop with many threads: a request that waits for the host must not keep others from being
 * answered. */
#include "guestfs/fuse_loop.h"
#include "proto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Every request that waits for the host keeps a thread, and one that could be answered from memory must find
 * another. The kernel's own read-ahead cannot take them all. */
#define THREADS_MAX 256
#define THREADS_IDLE 32 /* kept when nobody asks */
#define BACKGROUND_MAX 128

/* Only there to interrupt the loop's wait. */
static void wake(int signal)
{
	(void)signal;
}

/* libfuse ends the session when a thread of its own has no memory for its next request. It cannot be run
 * again: requests that other threads have just read were dropped. The mount stays, and fails: without it,
 * names would seem not to exist. */
static void *loop_thread(void *arg)
{
	struct fuse_loop *l = arg;
	uint64_t one = 1;
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	r = fuse_session_loop_mt(l->session, l->config);
	if (r != 0)
		log_error("the FUSE session has failed, and with it every read error=%d", r);
	fuse_loop_cfg_destroy(l->config);
	/* nobody will answer: when its device is closed, the kernel waits for nobody */
	pthread_mutex_lock(&l->lock);
	fuse_session_destroy(l->session);
	l->session = NULL;
	pthread_mutex_unlock(&l->lock);
	(void)!write(l->ended_fd, &one, sizeof(one));
	return NULL;
}

int fuse_loop_start(struct fuse_loop *l, struct fuse_session *session, struct err *e)
{
	struct sigaction action = {.sa_handler = wake};
	int r;

	pthread_mutex_init(&l->lock, NULL);
	l->session = session;
	l->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = l->ended_fd < 0 ? -errno : 0;
	l->config = fuse_loop_cfg_create();
	if (r == 0 && !l->config)
		r = -ENOMEM;
	if (r == 0) {
		fuse_loop_cfg_set_max_threads(l->config, THREADS_MAX);
		fuse_loop_cfg_set_idle_threads(l->config, THREADS_IDLE);
		fuse_loop_cfg_set_clone_fd(l->config, 0);
	}
	if (r == 0 && sigaction(SIGUSR2, &action, NULL) < 0)
		r = -errno;
	if (r == 0)
		r = -pthread_create(&l->thread, NULL, loop_thread, l);
	if (r < 0) {
		if (l->config)
			fuse_loop_cfg_destroy(l->config);
		fuse_session_destroy(session);
		if (l->ended_fd >= 0)
			(void)close(l->ended_fd);
		pthread_mutex_destroy(&l->lock);
		return err_errno(e, r, "starting the FUSE session");
	}
	return 0;
}

void fuse_loop_stop(struct fuse_loop *l, bool end)
{
	struct pollfd p = {.fd = l->ended_fd, .events = POLLIN};

	/* the loop looks before it waits, and a signal in between would be lost: so more than one */
	while (end) {
		pthread_mutex_lock(&l->lock);
		if (l->session)
			fuse_session_exit(l->session);
		pthread_mutex_unlock(&l->lock);
		if (poll(&p, 1, 20) != 0)
			break;
		(void)pthread_kill(l->thread, SIGUSR2);
	}
	pthread_join(l->thread, NULL);
	(void)close(l->ended_fd);
	pthread_mutex_destroy(&l->lock);
}

void fuse_loop_init(struct fuse_conn_info *conn)
{
	conn->max_read = FUSE_LOOP_MAX_READ;
	conn->max_write = FUSE_LOOP_MAX_READ; /* libfuse derives the pages of a request from this one */
	conn->max_readahead = FUSE_LOOP_MAX_READ;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX;
}
