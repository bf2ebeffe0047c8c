/* SPDX-License-Identifier: Apache-2.0
 * Threads that each read a request and answer it: one that waits for the host must not keep others from being
 * answered. There is always one more that waits for a request, as long as threads and memory can be had; when
 * they cannot, those that are there go on. (libfuse's own loop ends the session then.) The first thread has
 * its memory before the mount can be used, and stays. */
#include "guestfs/fuse_loop.h"
#include "guestfs/deadline.h"
#include "proto/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define WAITING_MAX 32 /* who has answered and sees as many waiting is not needed */
#define BACKGROUND_MAX 128
#define WAKE_MS 20

/* When there is no memory for a request, or the device cannot be read, a thread tries for five seconds. Then
 * it ends, and when all have ended, who uses the mount gets errors and does not hang. */
#define RETRY_MS 50
#define RETRIES 100

/* Only there to interrupt a read. */
static void wake(int signal)
{
	(void)signal;
}

/* The request's size; 0 when the session has ended; a negative errno when none was taken from the kernel. */
static int receive(struct fuse_session *session, struct fuse_buf *request)
{
	static const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	unsigned int failures = 0;

	for (;;) {
		int r = fuse_session_receive_buf(session, request);

		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r >= 0 || ++failures > RETRIES)
			return r;
		(void)nanosleep(&pause, NULL);
	}
}

/* Nobody will answer any more. When its device is closed, the kernel waits for nobody. It stays mounted, and
 * fails: without it, names would seem not to exist. */
static void end_session(struct fuse_loop *l, int error)
{
	uint64_t one = 1;

	if (error < 0)
		log_error("the FUSE session has failed, and with it every read error=%d", error);
	fuse_session_destroy(l->session);
	l->session = NULL;
	(void)!write(l->ended_fd, &one, sizeof(one));
	pthread_cond_broadcast(&l->ended);
}

static void *work(void *arg);

/* Called with the lock. Failure is no harm: whoever asks for one answers requests itself. */
static int add_worker(struct fuse_loop *l)
{
	for (struct fuse_worker *w = l->workers; w < l->workers + FUSE_LOOP_THREADS; w++) {
		int r;

		if (w->state == WORKER_RUNS)
			continue;
		if (w->state == WORKER_ENDED)
			pthread_join(w->thread, NULL); /* it never takes the lock again */
		w->state = WORKER_NONE;
		w->loop = l;
		r = -pthread_create(&w->thread, NULL, work, w);
		if (r < 0)
			return r;
		w->state = WORKER_RUNS;
		l->n_running++;
		l->n_waiting++;
		return 0;
	}
	return -EAGAIN;
}

/* Wait for a request and answer it. 1: and for another; 0: no more are needed, or there are none; or a
 * negative errno. */
static int serve_one(struct fuse_worker *w)
{
	struct fuse_loop *l = w->loop;
	int r = receive(l->session, &w->request);
	bool stays;

	pthread_mutex_lock(&l->lock);
	if (--l->n_waiting == 0 && r > 0)
		(void)add_worker(l);
	pthread_mutex_unlock(&l->lock);
	if (r <= 0)
		return r;
	fuse_session_process_buf(l->session, &w->request);
	pthread_mutex_lock(&l->lock);
	stays = w == l->workers || l->n_waiting < WAITING_MAX;
	l->n_waiting += stays;
	pthread_mutex_unlock(&l->lock);
	return stays;
}

static void *work(void *arg)
{
	struct fuse_worker *w = arg;
	struct fuse_loop *l = w->loop;
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	do
		r = serve_one(w);
	while (r > 0);
	free(w->request.mem);
	w->request.mem = NULL;
	pthread_mutex_lock(&l->lock);
	w->state = WORKER_ENDED;
	if (--l->n_running == 0)
		end_session(l, r);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* The kernel's first request waits already. What it needs of memory, the first worker has. */
static int greet(struct fuse_loop *l)
{
	struct fuse_buf *request = &l->workers[0].request;
	int r = receive(l->session, request);

	if (r > 0)
		fuse_session_process_buf(l->session, request);
	if (r < 0)
		return r;
	return l->greeted ? 0 : -EIO;
}

int fuse_loop_start(struct fuse_loop *l, struct fuse_session *session, struct err *e)
{
	const struct sigaction action = {.sa_handler = wake};
	int r;

	*l = (struct fuse_loop){.session = session};
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->ended, NULL);
	l->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = l->ended_fd < 0 || sigaction(SIGUSR2, &action, NULL) < 0 ? -errno : greet(l);
	if (r == 0) {
		pthread_mutex_lock(&l->lock);
		r = add_worker(l);
		pthread_mutex_unlock(&l->lock);
	}
	if (r < 0) {
		free(l->workers[0].request.mem);
		fuse_session_destroy(session);
		if (l->ended_fd >= 0)
			(void)close(l->ended_fd);
		pthread_cond_destroy(&l->ended);
		pthread_mutex_destroy(&l->lock);
		return err_errno(e, r, "starting the FUSE session");
	}
	return 0;
}

void fuse_loop_stop(struct fuse_loop *l, bool end)
{
	pthread_mutex_lock(&l->lock);
	/* a thread looks before it reads, and a signal in between is lost: so more than one */
	while (end && l->session) {
		struct deadline next = deadline_after(WAKE_MS);

		fuse_session_exit(l->session);
		for (struct fuse_worker *w = l->workers; w < l->workers + FUSE_LOOP_THREADS; w++)
			if (w->state == WORKER_RUNS)
				(void)pthread_kill(w->thread, SIGUSR2);
		(void)pthread_cond_clockwait(&l->ended, &l->lock, CLOCK_MONOTONIC, &next.at);
	}
	while (l->session)
		pthread_cond_wait(&l->ended, &l->lock);
	pthread_mutex_unlock(&l->lock);
	for (struct fuse_worker *w = l->workers; w < l->workers + FUSE_LOOP_THREADS; w++)
		if (w->state != WORKER_NONE)
			pthread_join(w->thread, NULL);
	(void)close(l->ended_fd);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
}

void fuse_loop_init(struct fuse_loop *l, struct fuse_conn_info *conn)
{
	l->greeted = true;
	conn->max_read = FUSE_LOOP_MAX_READ;
	conn->max_write = FUSE_LOOP_MAX_READ; /* libfuse derives the pages of a request from this one */
	conn->max_readahead = FUSE_LOOP_MAX_READ;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX;
}
