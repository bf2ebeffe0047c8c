/* SPDX-License-Identifier: Apache-2.0
 * libfuse's own loop with many threads: a request that waits for the host must not keep others from being
 * answered. */
#include "guestfs/fuse_loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define THREADS_MAX 32

/* Only there to interrupt the loop's wait. */
static void wake(int signal)
{
	(void)signal;
}

static void *loop_thread(void *arg)
{
	struct fuse_loop *l = arg;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	uint64_t one = 1;
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	if (config) {
		fuse_loop_cfg_set_max_threads(config, THREADS_MAX);
		fuse_loop_cfg_set_clone_fd(config, 0);
		(void)fuse_session_loop_mt(l->session, config);
		fuse_loop_cfg_destroy(config);
	}
	(void)!write(l->ended_fd, &one, sizeof(one));
	return NULL;
}

int fuse_loop_start(struct fuse_loop *l, struct fuse_session *session, struct err *e)
{
	struct sigaction action = {.sa_handler = wake};
	int r;

	l->session = session;
	l->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = l->ended_fd < 0 ? -errno : 0;
	if (r == 0 && sigaction(SIGUSR2, &action, NULL) < 0)
		r = -errno;
	if (r == 0)
		r = -pthread_create(&l->thread, NULL, loop_thread, l);
	if (r < 0) {
		fuse_session_destroy(session);
		if (l->ended_fd >= 0)
			(void)close(l->ended_fd);
		return err_errno(e, r, "starting the FUSE session");
	}
	return 0;
}

void fuse_loop_stop(struct fuse_loop *l, bool now)
{
	struct pollfd p = {.fd = l->ended_fd, .events = POLLIN};

	if (now)
		fuse_session_exit(l->session);
	/* the loop looks before it waits, and a signal in between would be lost: so more than one */
	while (now && poll(&p, 1, 20) == 0)
		(void)pthread_kill(l->thread, SIGUSR2);
	pthread_join(l->thread, NULL);
	fuse_session_destroy(l->session);
	(void)close(l->ended_fd);
}

void fuse_loop_init(struct fuse_conn_info *conn)
{
	conn->max_read = FUSE_LOOP_MAX_READ;
	conn->max_write = FUSE_LOOP_MAX_READ; /* libfuse derives the pages of a request from this one */
	conn->max_readahead = FUSE_LOOP_MAX_READ;
	conn->max_background = 2 * THREADS_MAX;
	conn->congestion_threshold = 2 * THREADS_MAX;
}
