/* SPDX-License-Identifier: Apache-2.0
 * The program says on its standard output which manifest it has mounted or which error it met
 * (--print-manifest), and why on its standard error. */
#include "guestfs/pods/mount_program.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define ERRNO_MAX 4095 /* the kernel's own limit (include/linux/err.h) */
#define LOG_MAX (64u << 10)
#define OUTPUT_MAX 128u

extern char **environ;

/* Between fork and exec: only what is safe beside other threads. */
_Noreturn static void become(const struct mount_program *p, const struct mount_job *job, char *const argv[],
			     int output, pid_t parent)
{
	sigset_t none;
	int log = open(job->log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (log >= 0 && dup2(log, STDERR_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
	    fcntl(job->lock, F_SETFD, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
		(void)execve(p->path, argv, environ);
	_exit(127);
}

static pid_t start(const struct mount_program *p, const struct mount_job *job, int output)
{
	const char *argv[MOUNT_PROGRAM_OPTIONS + 8];
	pid_t parent = getpid(), pid;
	size_t n = 0;

	argv[n++] = "cocoon-guestfs";
	argv[n++] = "--print-manifest";
	for (size_t i = 0; i < p->n_options; i++)
		argv[n++] = p->options[i];
	argv[n++] = "--";
	argv[n++] = job->image;
	argv[n++] = job->target;
	argv[n] = NULL;
	pid = fork();
	if (pid == 0)
		become(p, job, (char *const *)(uintptr_t)argv, output, parent);
	return pid < 0 ? -errno : pid;
}

/* All that it says on its standard output, with NUL. 0 or -ETIMEDOUT. */
static int listen_to(int fd, char said[static OUTPUT_MAX], const struct deadline *deadline)
{
	size_t n = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		said[n] = '\0';
		if (poll(&p, 1, deadline ? deadline_left_ms(deadline) : -1) < 0 && errno != EINTR)
			return -errno;
		if (!p.revents && deadline && deadline_passed(deadline))
			return -ETIMEDOUT;
		if (!p.revents)
			continue;
		got = read(fd, said + n, OUTPUT_MAX - 1 - n);
		if (got <= 0)
			return 0;
		n += (size_t)got;
	}
}

/* The last line of its log, without its name. */
static void last_words(const char *log, struct err *e)
{
	static const char name[] = "cocoon-guestfs: ";
	cleanup_buf struct buf text;
	const char *line;
	size_t end, start;

	buf_init(&text, LOG_MAX);
	if (file_read(AT_FDCWD, log, &text, NULL) < 0)
		return;
	for (end = text.size; end > 0 && text.data[end - 1] == '\n'; end--)
		;
	for (start = end; start > 0 && text.data[start - 1] != '\n'; start--)
		;
	line = (const char *)text.data + start;
	if (end - start > sizeof(name) - 1 && memcmp(line, name, sizeof(name) - 1) == 0)
		start += sizeof(name) - 1;
	if (end > start)
		(void)err_set(e, 0, "%.*s", (int)(end - start), (const char *)text.data + start);
}

static int outcome(const char *said, char manifest[static DIGEST_TEXT_SIZE])
{
	static const char failed[] = "error=";
	struct digest parsed;

	if (strncmp(said, failed, sizeof(failed) - 1) == 0) {
		char *end;
		long error = strtol(said + sizeof(failed) - 1, &end, 10);

		/* it was given nothing by our caller that was not checked: what it finds invalid is our own
		 * affair */
		return error > 0 && error <= ERRNO_MAX && error != EINVAL && *end == '\n' ? (int)-error
											  : -EIO;
	}
	if (strlen(said) != DIGEST_TEXT_SIZE || said[DIGEST_TEXT_SIZE - 1] != '\n')
		return -EIO;
	memcpy(manifest, said, DIGEST_TEXT_SIZE - 1);
	manifest[DIGEST_TEXT_SIZE - 1] = '\0';
	return digest_parse(&parsed, manifest) < 0 ? -EIO : 0;
}

int mount_program_run(const struct mount_program *p, const struct mount_job *job,
		      char manifest[static DIGEST_TEXT_SIZE], struct err *e)
{
	cleanup_close int in = -1, out = -1;
	char said[OUTPUT_MAX];
	int fds[2], status = 0, r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	in = fds[0];
	out = fds[1];
	pid = start(p, job, out);
	if (pid < 0)
		return err_errno(e, pid, "starting %s", p->path);
	(void)close(take_fd(&out));
	r = listen_to(in, said, job->deadline);
	if (r < 0)
		(void)kill(pid, SIGKILL); /* and with it whoever works for it */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_set(e, r, "not mounted in time");
	r = outcome(said, manifest);
	if (r == 0 && status != 0)
		r = -EIO;
	if (r < 0) {
		(void)err_set(e, r, "the image was not mounted");
		last_words(job->log, e);
	}
	return r;
}
