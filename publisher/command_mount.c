/* SPDX-License-Identifier: Apache-2.0
 * cocoon mount: hands everything to cocoon-guestfs, which stands beside this program or in PATH. */
#include "publisher/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "cocoon-guestfs"

static const char help[] =
	"Usage: cocoon mount [OPTION]... IMAGE DIRECTORY\n"
	"\n"
	"Mounts a sealed image through a running cocoon-snapshotter: runs cocoon-guestfs with the same "
	"arguments.\n"
	"umount DIRECTORY ends it.\n"
	"\n"
	"  --key SPEC           file:FILE, recipient:FILE or cdh\n"
	"  --host ADDRESS       unix:PATH, vsock:CID:PORT or tls:IP:PORT:sha256:PIN\n"
	"                       (unix:/run/cocoon/chunks.sock)\n"
	"  --policy FILE        the images that may be mounted; with a recipient's key a tag is not enough\n"
	"  --front FRONT        auto, block, loop or tree\n"
	"\n"
	"cocoon-guestfs --help tells the rest, also the exit codes, which are its own.\n";

/* Does not return when it works. */
static void exec_beside(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
	char *slash;

	if (n < 0 || (size_t)n >= sizeof(path))
		return;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + sizeof(PROGRAM) > sizeof(path))
		return;
	memcpy(slash + 1, PROGRAM, sizeof(PROGRAM));
	(void)execv(path, argv);
}

int command_mount(int argc, char **argv)
{
	char name[] = PROGRAM;

	(void)argc;
	for (char **a = argv + 1; *a; a++) {
		if (strcmp(*a, "--help") == 0 || strcmp(*a, "-h") == 0) {
			(void)fputs(help, stdout);
			return EXIT_DONE;
		}
	}
	argv[0] = name;
	exec_beside(argv);
	(void)execvp(PROGRAM, argv);
	(void)fprintf(stderr, "cocoon mount: cannot run %s: %s\n", PROGRAM, strerror(errno));
	return EXIT_FAILED;
}
