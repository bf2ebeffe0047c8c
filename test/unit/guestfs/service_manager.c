/* SPDX-License-Identifier: Apache-2.0
 * The service manager is a socket of the test's own. */
#include "guestfs/service_manager.h"
#include "proto/base/cleanup.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Receives at `path`; one that begins with @ is no file. */
static int manager_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(at.sun_path, path, strlen(path));
	if (path[0] == '@')
		at.sun_path[0] = '\0';
	cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&at,
				  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) == 0);
	cr_assert(setenv("NOTIFY_SOCKET", path, 1) == 0);
	return fd;
}

static void hears_of_us(const char *path)
{
	cleanup_close int manager = manager_at(path);
	cleanup_close int fd = service_manager_connect();
	char said[128] = "", expected[64];

	cr_assert(fd >= 0, "%s", path);
	cr_assert_null(getenv("NOTIFY_SOCKET"), "children would speak in our name");
	service_manager_ready(fd);
	cr_assert(recv(manager, said, sizeof(said) - 1, 0) > 0);
	(void)snprintf(expected, sizeof(expected), "READY=1\nMAINPID=%ld", (long)getpid());
	cr_assert_str_eq(said, expected);
}

Test(service_manager, is_told_at_a_path)
{
	char directory[] = "/tmp/manager.XXXXXX", path[64];

	cr_assert_not_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/notify", directory);
	hears_of_us(path);
	(void)unlink(path);
	(void)rmdir(directory);
}

Test(service_manager, is_told_at_a_name_that_is_no_path)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "@cocoon-test-%ld", (long)getpid());
	hears_of_us(name);
}

Test(service_manager, that_is_not_there_is_none)
{
	char too_long[200];

	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[0] = '/';
	too_long[sizeof(too_long) - 1] = '\0';
	(void)unsetenv("NOTIFY_SOCKET");
	cr_assert_eq(service_manager_connect(), -1);
	for (size_t i = 0; i < 4; i++) {
		const char *const paths[] = {"/nonexistent/notify", "vsock:2:1", "/", too_long};

		cr_assert(setenv("NOTIFY_SOCKET", paths[i], 1) == 0);
		cr_assert_eq(service_manager_connect(), -1, "%s", paths[i]);
		cr_assert_null(getenv("NOTIFY_SOCKET"));
	}
	service_manager_ready(-1);
}
