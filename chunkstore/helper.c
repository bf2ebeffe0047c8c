/* SPDX-License-Identifier: Apache-2.0
 * Two pipes, a deadline, and a bounded answer. */
#include "chunkstore/helper.h"
#include "chunkstore/clock.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Read to the end. */
static int read_answer(int fd, struct buf *to, unsigned int seconds)
{
	int64_t end = now_ms() + (int64_t)seconds * 1000;
	uint8_t part[4096];
	int r = 1;

	while (r > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0)
			r = -ETIMEDOUT;
		else if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			r = -errno;
		if (r < 0 || !(p.revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = read(fd, part, sizeof(part));
		if (n == 0)
			r = 0;
		else if (n < 0 && errno != EINTR)
			r = -errno;
		else if (n > 0)
			buf_put(to, part, (size_t)n);
		if (buf_failed(to))
			r = -E2BIG;
	}
	explicit_bzero(part, sizeof(part));
	return r;
}

/* A pipe that holds the whole question already, so that a program which ends without reading raises no
 * SIGPIPE. */
static int question_pipe(int *out, struct bytes question)
{
	int fds[2];
	int r;

	if (question.left >= PIPE_BUF)
		return -ENAMETOOLONG;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r = write_full(fds[1], question.at, question.left);
	(void)close(fds[1]);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	*out = fds[0];
	return 0;
}

static int start(pid_t *pid, char *const argv[], int in, int answer)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, answer, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* `status` is as of wait(2). */
static int run(char *const argv[], struct bytes question, struct buf *answer, unsigned int seconds,
	       int *status)
{
	cleanup_close int in = -1, from = -1, to = -1;
	int fds[2];
	pid_t pid;
	int r;

	r = question_pipe(&in, question);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	from = fds[0];
	to = fds[1];
	r = start(&pid, argv, in, to);
	if (r < 0)
		return r;
	(void)close(take_fd(&to));
	r = read_answer(from, answer, seconds);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return r;
}

int helper_run(char *const argv[], struct bytes question, struct buf *answer, unsigned int seconds,
	       struct err *e)
{
	int status = 0, r = run(argv, question, answer, seconds, &status);

	if (r < 0)
		return err_errno(e, r, "%s", argv[0]);
	if (!WIFEXITED(status))
		return err_set(e, -EIO, "%s: killed by signal %d", argv[0], WTERMSIG(status));
	if (WEXITSTATUS(status) == 0)
		return 0;
	(void)err_set(e, HELPER_FAILED, "%s: exit code %d", argv[0], WEXITSTATUS(status));
	return HELPER_FAILED;
}
