/* SPDX-License-Identifier: Apache-2.0
 * drain NAME FILE, drain NAME CID:PORT: reads a file, or what a virtio socket sends, to its end and prints
 * "drain: NAME BYTES SECONDS". Exit status 1 when there is nobody or a read fails. */
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1u << 20)

static int reach(const char *where)
{
	struct sockaddr_vm a = {.svm_family = AF_VSOCK};
	int fd;

	if (sscanf(where, "%u:%u", &a.svm_cid, &a.svm_port) != 2)
		return open(where, O_RDONLY | O_CLOEXEC);
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? fd : -1;
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned long long bytes = 0;
	char *piece = malloc(PIECE);
	double start;
	ssize_t n;
	int fd;

	if (argc != 3 || !piece)
		return 1;
	start = seconds();
	fd = reach(argv[2]);
	if (fd < 0)
		return 1;
	while ((n = read(fd, piece, PIECE)) > 0)
		bytes += (unsigned long long)n;
	if (n < 0) {
		perror(argv[2]);
		return 1;
	}
	(void)printf("drain: %s %llu %.6f\n", argv[1], bytes, seconds() - start);
	return 0;
}
