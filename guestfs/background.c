/* SPDX-License-Identifier: Apache-2.0
 * One fork and a pipe. What the second process logs goes to the journal, or stays where it went when that is
 * a file. */
#include "guestfs/background.h"
#include "guestfs/service_manager.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "cocoon-guestfs"

struct report {
	int32_t code;
	char line[BACKGROUND_LINE_SIZE]; /* for standard output */
	char words[ERR_TEXT_MAX];	 /* for standard error */
};

static void print_line(const char *line)
{
	if (line[0])
		(void)puts(line);
	(void)fflush(stdout);
}

_Noreturn static void wait_and_exit(int fd, pid_t child)
{
	struct report report = {.code = 2};
	int status = 0;

	if (read_full(fd, &report, sizeof(report)) < 0) {
		report = (struct report){.code = 2};
		(void)kill(child, SIGTERM); /* if it lives, nobody will know of it */
		(void)waitpid(child, &status, 0);
		(void)fprintf(stderr, PROGRAM ": ended before the mount could be used (status %d)\n", status);
	} else {
		report.line[sizeof(report.line) - 1] = report.words[sizeof(report.words) - 1] = '\0';
		print_line(report.line);
		if (report.words[0])
			(void)fprintf(stderr, PROGRAM ": %s\n", report.words);
	}
	_exit(report.code);
}

/* No terminal, no pipe of a caller that waits for its end. */
static void leave_terminal(void)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	cleanup_close int journal = -1;
	struct stat st;

	(void)setsid();
	if (null < 0)
		return;
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		return;
	journal = journal_stream(PROGRAM);
	(void)dup2(journal >= 0 ? journal : null, STDERR_FILENO);
	if (journal >= 0)
		(void)setenv("JOURNAL_STREAM", "yes", 1); /* log lines begin with their priority then */
}

int background_begin(struct background *b, struct err *e)
{
	cleanup_close int in = -1, out = -1;
	int pipe_fds[2];
	pid_t parent = getpid(), child;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "pipe");
	in = pipe_fds[0];
	out = pipe_fds[1];
	child = fork();
	if (child < 0)
		return err_errno(e, -errno, "fork");
	if (child > 0) {
		(void)close(take_fd(&out));
		wait_and_exit(in, child);
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(2);
	leave_terminal();
	b->fd = take_fd(&out);
	return 0;
}

void background_manager(struct background *b)
{
	b->notify = service_manager_connect();
}

void background_say(struct background *b, const char *line)
{
	(void)snprintf(b->line, sizeof(b->line), "%s", line);
}

static void report(struct background *b, int code, const char *words)
{
	struct report report = {.code = code};

	memcpy(report.line, b->line, sizeof(report.line));
	(void)snprintf(report.words, sizeof(report.words), "%s", words);
	(void)write_full(b->fd, &report, sizeof(report));
	(void)close(b->fd);
	b->fd = -1;
}

int background_ready(struct background *b)
{
	if (b->fd >= 0 && prctl(PR_SET_PDEATHSIG, 0) < 0)
		return -errno;
	if (b->fd >= 0)
		report(b, 0, "");
	else
		print_line(b->line);
	service_manager_ready(b->notify);
	return 0;
}

void background_failed(struct background *b, int code, const char *words)
{
	if (b->fd >= 0) {
		report(b, code, words);
	} else {
		print_line(b->line);
		(void)fprintf(stderr, PROGRAM ": %s\n", words);
	}
}
