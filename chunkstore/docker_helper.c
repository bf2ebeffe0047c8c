/* SPDX-License-Identifier: Apache-2.0
 * Runs a credential helper with a deadline and takes a bounded answer. The answer is read into one allocation
 * and wiped. */
#include "chunkstore/docker_helper.h"
#include "chunkstore/clock.h"
#include "chunkstore/secret_json.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ANSWER (2 * DOCKER_MAX_SECRET)

extern char **environ;

int docker_helper_decode(struct docker_login *out, const char *json, size_t size, struct err *e)
{
	cleanup_secret_json json_t *j = secret_json_load(json, size, NULL);
	struct docker_login l = {0};
	int r = secret_json_copy(&l.user, json_object_get(j, "Username"), DOCKER_MAX_SECRET);

	if (r == 0)
		r = secret_json_copy(&l.password, json_object_get(j, "Secret"), DOCKER_MAX_SECRET);
	if (r < 0) {
		docker_login_deinit(&l);
		return err_set(e, -EINVAL, "answer without Username and Secret");
	}
	if (strcmp(l.user, "<token>") == 0) {
		l.identity_token = take_ptr(l.password);
		free(take_ptr(l.user));
	}
	*out = l;
	return 0;
}

/* Read to the end, into `to` of `room` bytes. The number of bytes; -E2BIG, -ETIMEDOUT, -errno. */
static ssize_t read_answer(int fd, char *to, size_t room)
{
	int64_t end = now_ms() + DOCKER_HELPER_SECONDS * 1000;
	size_t at = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = end - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		if (!(p.revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		if (at == room)
			return -E2BIG;
		n = read(fd, to + at, room - at);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return (ssize_t)at;
		if (n > 0)
			at += (size_t)n;
	}
}

/* A pipe that holds the whole question already, so that a helper which ends without reading raises no
 * SIGPIPE. */
static int question_pipe(int *out, const char *server)
{
	int fds[2];
	int r;

	if (strlen(server) >= PIPE_BUF)
		return -ENAMETOOLONG;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	r = write_full(fds[1], server, strlen(server));
	(void)close(fds[1]);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	*out = fds[0];
	return 0;
}

static int start(pid_t *pid, const char *program, int in, int answer)
{
	char name[DOCKER_HELPER_SIZE + 32], get[] = "get";
	char *const argv[] = {name, get, NULL};
	posix_spawn_file_actions_t actions;
	int r;

	(void)snprintf(name, sizeof(name), "%s", program);
	r = posix_spawn_file_actions_init(&actions);
	if (r != 0)
		return -r;
	r = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, answer, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(pid, name, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Run the helper: its answer in `to`; *status as of wait(2). The number of bytes or a negative errno. */
static ssize_t run(const char *program, const char *server, char *to, size_t room, int *status)
{
	cleanup_close int in = -1, answer = -1, out = -1;
	int fds[2];
	ssize_t n;
	pid_t pid;
	int r;

	r = question_pipe(&in, server);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	answer = fds[0];
	out = fds[1];
	r = start(&pid, program, in, out);
	if (r < 0)
		return r;
	(void)close(take_fd(&out));
	n = read_answer(answer, to, room);
	if (n < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return n;
}

int docker_helper_ask(struct docker_login *out, const char *helper, const char *server, struct err *e)
{
	char program[DOCKER_HELPER_SIZE + 32];
	char *answer = malloc(MAX_ANSWER);
	int status = 0, r;
	ssize_t n;

	if (!answer)
		return err_set(e, -ENOMEM, "out of memory");
	(void)snprintf(program, sizeof(program), "docker-credential-%s", helper);
	n = run(program, server, answer, MAX_ANSWER, &status);
	if (n < 0)
		r = err_errno(e, (int)n, "%s", program);
	else if (!WIFEXITED(status))
		r = err_set(e, -EIO, "%s: killed by signal %d", program, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		r = DOCKER_NO_LOGIN;
	else
		r = docker_helper_decode(out, answer, (size_t)n, e);
	explicit_bzero(answer, MAX_ANSWER);
	free(answer);
	if (r == -EINVAL)
		r = err_prefix(e, -EIO, "%s", program);
	return r;
}
