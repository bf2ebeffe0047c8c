/* SPDX-License-Identifier: Apache-2.0
 * privileges-probe [keeper]: gives up what cocoon-guestfs or its keeper gives up, by the same function, then
 * tries what must fail now and what must still work. Prints what is not as it should be; exit code 0 when all
 * is. */
#include "guestfs/privileges.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int wrong;

/* `r` of a system call that must not work. */
static void must_fail(const char *what, long r)
{
	int code = errno;

	if (r >= 0 || (code != EPERM && code != EACCES && code != ENOSYS)) {
		(void)printf("%s: %ld %s\n", what, r, r < 0 ? strerrorname_np(code) : "");
		wrong++;
	}
}

static void must_work(const char *what, int works)
{
	if (!works) {
		(void)printf("%s does not work: %s\n", what, strerrorname_np(errno));
		wrong++;
	}
}

static void *nothing(void *arg)
{
	return arg;
}

static void *waits(void *arg)
{
	for (;;)
		(void)pause();
	return arg;
}

static void try_making_files(void)
{
	must_fail("create", open("/tmp/privileges-probe", O_WRONLY | O_CREAT, 0600));
	must_fail("unlink", unlink("/tmp/privileges-probe"));
	must_fail("mkdir", mkdir("/tmp/privileges-probe", 0700));
	must_fail("memfd_create", memfd_create("probe", 0));
	must_fail("chdir", chdir("/etc"));
	must_fail("chroot", chroot("/"));
}

static void try_files(const char *self)
{
	struct stat st;

	must_fail("open /", open("/", O_RDONLY));
	must_fail("open /etc/passwd", open("/etc/passwd", O_RDONLY));
	must_fail("open with O_PATH", open("/etc", O_PATH));
	must_fail("open itself", open(self, O_RDONLY));
	must_fail("stat", stat("/etc/passwd", &st));
}

static void try_processes(char *self)
{
	char *argv[] = {self, NULL};

	must_fail("fork", fork());
	must_fail("vfork", syscall(SYS_vfork));
	must_fail("clone3", syscall(SYS_clone3, NULL, 0));
	must_fail("execve", execve(self, argv, NULL));
	must_fail("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	must_fail("process_vm_readv", syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
	must_fail("kill", kill(getppid(), SIGCONT));
	must_fail("tgkill of another", syscall(SYS_tgkill, getppid(), getppid(), SIGCONT));
	must_fail("setuid", setuid(1));
	must_fail("unshare", unshare(CLONE_NEWUSER));
}

static void try_network(void)
{
	must_fail("socket(AF_INET)", socket(AF_INET, SOCK_STREAM, 0));
	must_fail("socket(AF_NETLINK)", socket(AF_NETLINK, SOCK_RAW, 0));
	must_fail("socket(AF_PACKET)", socket(AF_PACKET, SOCK_RAW, 0));
}

static void try_streams(void)
{
	must_fail("socket(AF_UNIX)", socket(AF_UNIX, SOCK_STREAM, 0));
	must_fail("socket(AF_VSOCK)", socket(AF_VSOCK, SOCK_STREAM, 0));
}

static void try_mounts(void)
{
	must_fail("mount", mount("none", "/mnt", "tmpfs", 0, NULL));
	must_fail("umount2", umount2("/mnt", MNT_DETACH));
	must_fail("fsopen", fsopen("tmpfs", 0));
}

static void try_kernel(void)
{
	must_fail("pivot_root", syscall(SYS_pivot_root, "/", "/"));
	must_fail("setns", setns(0, 0));
	must_fail("sethostname", sethostname("probe", 5));
	must_fail("bpf", syscall(SYS_bpf, 0, NULL, 0));
	must_fail("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
	must_fail("init_module", syscall(SYS_init_module, NULL, 0, ""));
	must_fail("memory with code", (long)(intptr_t)mmap(NULL, 4096, PROT_READ | PROT_EXEC,
							   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void try_what_mounting_needs(void)
{
	struct stat st;

	must_work("open", open("/dev/null", O_RDWR | O_CLOEXEC) >= 0);
	must_work("stat", stat("/", &st) == 0);
	must_work("socket(AF_UNIX)", socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
	must_fail("socket of another family", socket(AF_VSOCK, SOCK_STREAM, 0));
	must_work("fsopen", fsopen("tmpfs", FSOPEN_CLOEXEC) >= 0);
}

static void try_what_is_needed(int *pipe_fds)
{
	pthread_t t;
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char c = 'x';

	must_work("memory", p != MAP_FAILED);
	must_fail("making it code", mprotect(p, 4096, PROT_READ | PROT_EXEC));
	must_work("a thread", pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0);
	must_work("descriptors that are there",
		  write(pipe_fds[1], &c, 1) == 1 && read(pipe_fds[0], &c, 1) == 1);
}

static void try_cancelling(void)
{
	pthread_t t;

	/* what opens a library when it is done for the first time */
	must_work("cancelling a thread", pthread_create(&t, NULL, waits, NULL) == 0 &&
						 pthread_cancel(t) == 0 && pthread_join(t, NULL) == 0);
}

int main(int argc, char **argv)
{
	bool keeper = argc > 1 && strcmp(argv[1], "keeper") == 0;
	struct err e = {""};
	int pipe_fds[2];

	log_init("privileges-probe", LOG_LEVEL_INFO);
	setbuf(stdout, NULL);
	if (pipe(pipe_fds) < 0 || (keeper ? privileges_keep_mounting(AF_UNIX) : privileges_drop(&e)) < 0) {
		(void)fprintf(stderr, "privileges-probe: %s\n", e.text);
		return 2;
	}
	try_making_files();
	try_processes(argv[0]);
	try_network();
	try_kernel();
	try_what_is_needed(pipe_fds);
	if (keeper) {
		try_what_mounting_needs();
	} else {
		try_files(argv[0]);
		try_streams();
		try_mounts();
		try_cancelling();
	}
	return wrong > 0;
}
