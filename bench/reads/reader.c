/* SPDX-License-Identifier: Apache-2.0
 * Reads, and says how long that took: "BYTES SECONDS", opening included.
 *
 *   reader sequential FILE       from its first to its last byte, a MiB at a time
 *   reader random FILE N SEED    N times 4 KiB at aligned places, one after the other
 *   reader tree DIR              every byte of every regular file below, directory by directory
 *   reader run COMMAND [ARG…]    a program, whose output is thrown away */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define PAGE 4096

extern char **environ;

static char piece[PIECE];

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int failed(const char *path)
{
	perror(path);
	return -1;
}

static int sequential(const char *path, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return failed(path);
	while ((n = read(fd, piece, PIECE)) > 0)
		*bytes += (uint64_t)n;
	(void)close(fd);
	return n < 0 ? failed(path) : 0;
}

static int random_places(const char *path, unsigned int count, unsigned int seed, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(path);
	srandom(seed);
	for (; count > 0; count--) {
		ssize_t n = pread(fd, piece, PAGE, random() % (st.st_size / PAGE) * PAGE);

		if (n < 0)
			return failed(path);
		*bytes += (uint64_t)n;
	}
	(void)close(fd);
	return 0;
}

static int tree(char *path, uint64_t *bytes)
{
	FTS *walk = fts_open((char *[]){path, NULL}, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	FTSENT *x;

	if (!walk)
		return failed(path);
	while ((x = fts_read(walk))) {
		if (x->fts_info == FTS_ERR || x->fts_info == FTS_DNR || x->fts_info == FTS_NS) {
			errno = x->fts_errno;
			return failed(x->fts_path);
		}
		if (x->fts_info == FTS_F && sequential(x->fts_accpath, bytes) < 0)
			return -1;
	}
	(void)fts_close(walk);
	return 0;
}

static int run(char **argv)
{
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;

	if (posix_spawn_file_actions_init(&actions) != 0 ||
	    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) != 0 ||
	    posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) < 0)
		return failed(argv[0]);
	(void)posix_spawn_file_actions_destroy(&actions);
	return status == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[1] : "";
	uint64_t bytes = 0;
	double start;
	int r = -1;

	memset(piece, 1, sizeof(piece)); /* its pages are there before the clock runs */
	start = seconds();
	if (strcmp(mode, "sequential") == 0)
		r = sequential(argv[2], &bytes);
	else if (strcmp(mode, "random") == 0 && argc == 5)
		r = random_places(argv[2], (unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]), &bytes);
	else if (strcmp(mode, "tree") == 0)
		r = tree(argv[2], &bytes);
	else if (strcmp(mode, "run") == 0)
		r = run(argv + 2);
	(void)printf("%llu %.6f\n", (unsigned long long)bytes, seconds() - start);
	return r < 0;
}
