/* SPDX-License-Identifier: Apache-2.0
 * Messages that get lost hurt nobody: every failure here is "there is no service manager". */
#include "guestfs/service_manager.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

/* A leading @ is for a name that is no path. */
static int connect_to(const char *path, int type)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	cleanup_close int fd = -1;

	if (n < 2 || n >= sizeof(to.sun_path) || !strchr("/@", path[0]))
		return -1;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		return -1;
	return take_fd(&fd);
}

/* Addresses of other families than unix are for virtual machines, whose manager does not start us. */
int service_manager_connect(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = path ? connect_to(path, SOCK_DGRAM) : -1;

	(void)unsetenv("NOTIFY_SOCKET");
	return fd;
}

void service_manager_ready(int fd)
{
	char state[64];
	int n = snprintf(state, sizeof(state), "READY=1\nMAINPID=%ld", (long)getpid());

	if (fd >= 0)
		(void)write_full(fd, state, (size_t)n);
}

/* The stream's first lines: name, unit (journald finds it), priority, priorities in the lines, and to none of
 * syslog, the kernel's log and the console. */
int journal_stream(const char *name)
{
	cleanup_close int fd = connect_to("/run/systemd/journal/stdout", SOCK_STREAM);
	char head[128];
	int n = snprintf(head, sizeof(head), "%s\n\n%d\n1\n0\n0\n0\n", name, LOG_INFO);

	if (fd < 0 || n >= (int)sizeof(head) || shutdown(fd, SHUT_RD) < 0 ||
	    write_full(fd, head, (size_t)n) < 0)
		return -1;
	return take_fd(&fd);
}
