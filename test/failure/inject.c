/* SPDX-License-Identifier: Apache-2.0
 * The table of faults, and the decision. It must not allocate, and it must work before main(). */
#include "inject.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BOTH (IN_IMAGE | IN_DAEMON)

const struct inject_fault inject_faults[] = {
	{"memory/ENOMEM", CALL_MEMORY, ENOMEM, BOTH},
	{"open/EMFILE", CALL_OPEN, EMFILE, BOTH},
	{"open/ENOMEM", CALL_OPEN, ENOMEM, BOTH},
	{"read/EIO", CALL_READ, EIO, BOTH},
	{"read/EINTR", CALL_READ, EINTR, BOTH | HARMLESS},
	{"read/short", CALL_READ, INJECT_SHORT, IN_IMAGE | HARMLESS},
	{"write/EIO", CALL_WRITE, EIO, IN_DAEMON},
	{"close/EIO", CALL_CLOSE, EIO, BOTH | HARMLESS},
	{"stat/ENOMEM", CALL_STAT, ENOMEM, BOTH},
	{"mmap/ENOMEM", CALL_MMAP, ENOMEM, BOTH},
	{"socket/EMFILE", CALL_SOCKET, EMFILE, BOTH},
	{"socket/ENOMEM", CALL_SOCKET, ENOMEM, BOTH},
	{"connect/ECONNREFUSED", CALL_CONNECT, ECONNREFUSED, BOTH},
	{"connect/EAGAIN", CALL_CONNECT, EAGAIN, BOTH},
	{"connect/ENOMEM", CALL_CONNECT, ENOMEM, BOTH},
	{"send/EINTR", CALL_SEND, EINTR, BOTH | HARMLESS},
	{"send/EAGAIN", CALL_SEND, EAGAIN, IN_IMAGE | HARMLESS},
	{"send/short", CALL_SEND, INJECT_SHORT, BOTH | HARMLESS},
	{"send/EPIPE", CALL_SEND, EPIPE, BOTH},
	{"send/ENOBUFS", CALL_SEND, ENOBUFS, BOTH},
	{"send/ENOMEM", CALL_SEND, ENOMEM, IN_IMAGE},
	{"recv/EINTR", CALL_RECV, EINTR, BOTH | HARMLESS},
	{"recv/EAGAIN", CALL_RECV, EAGAIN, IN_IMAGE | HARMLESS},
	{"recv/short", CALL_RECV, INJECT_SHORT, BOTH | HARMLESS},
	{"recv/end", CALL_RECV, INJECT_END, BOTH},
	{"recv/ECONNRESET", CALL_RECV, ECONNRESET, BOTH},
	{"recv/ENOMEM", CALL_RECV, ENOMEM, IN_IMAGE},
	{"poll/EINTR", CALL_POLL, EINTR, BOTH | HARMLESS},
	{"poll/ENOMEM", CALL_POLL, ENOMEM, BOTH},
	{"thread/EAGAIN", CALL_THREAD, EAGAIN, BOTH},
	{"sleep/EINTR", CALL_SLEEP, EINTR, BOTH | HARMLESS},
	{"eventfd/EMFILE", CALL_EVENTFD, EMFILE, BOTH},
	{"signalfd/EMFILE", CALL_SIGNALFD, EMFILE, IN_DAEMON},
	{"sigaction/EINVAL", CALL_SIGACTION, EINVAL, IN_DAEMON},
	{"pipe/EMFILE", CALL_PIPE, EMFILE, IN_DAEMON},
	{"fork/EAGAIN", CALL_FORK, EAGAIN, IN_DAEMON},
	{"dup/EMFILE", CALL_DUP, EMFILE, IN_DAEMON},
	{"prctl/EINVAL", CALL_PRCTL, EINVAL, IN_DAEMON},
	{"rlimit/EPERM", CALL_RLIMIT, EPERM, IN_DAEMON},
	{"syscall/ENOSYS", CALL_SYSCALL, ENOSYS, IN_DAEMON},
	{"syscall/EPERM", CALL_SYSCALL, EPERM, IN_DAEMON},
	{"ioctl/EIO", CALL_IOCTL, EIO, IN_DAEMON},
	{"fsopen/ENODEV", CALL_FSOPEN, ENODEV, IN_DAEMON},
	{"fsopen/EMFILE", CALL_FSOPEN, EMFILE, IN_DAEMON},
	{"fsconfig/ENOMEM", CALL_FSCONFIG, ENOMEM, IN_DAEMON},
	{"fsmount/ENOMEM", CALL_FSMOUNT, ENOMEM, IN_DAEMON},
	{"move_mount/ENOMEM", CALL_MOVE_MOUNT, ENOMEM, IN_DAEMON},
	{"mount/ENOMEM", CALL_MOUNT, ENOMEM, IN_DAEMON},
	{"umount/EBUSY", CALL_UMOUNT, EBUSY, IN_DAEMON},
	{"device/EINTR", CALL_DEVICE, EINTR, IN_DAEMON | HARMLESS},
	{"device/ENOENT", CALL_DEVICE, ENOENT, IN_DAEMON | HARMLESS},
	{"device/ENOMEM", CALL_DEVICE, ENOMEM, IN_DAEMON},
};
const size_t inject_n_faults = sizeof(inject_faults) / sizeof(inject_faults[0]);

struct inject_order *inject_order;
atomic_long inject_live;

static void crashed(int signal)
{
	void *frames[48];

	if (inject_order)
		inject_order->armed = 0;
	backtrace_symbols_fd(frames, backtrace(frames, 48), STDERR_FILENO);
	(void)raise(signal);
}

void inject_tell_crashes(void)
{
	static char memory[64 << 10]; /* the stack may be what has run out */
	const stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};
	const struct sigaction action = {.sa_handler = crashed, .sa_flags = (int)SA_RESETHAND | SA_ONSTACK};

	(void)sigaltstack(&stack, NULL);
	(void)sigaction(SIGSEGV, &action, NULL);
	(void)sigaction(SIGABRT, &action, NULL);
}

/* The library's order lies in the file that the environment names; a program sets the pointer itself. */
__attribute__((constructor)) static void find_order(void)
{
	const char *path = getenv("COCOON_INJECT");
	void *warm[4];
	void *p;
	int fd;

	(void)backtrace(warm, 4); /* loads what it needs */
	if (!path)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	(void)close(fd);
	inject_order = p;
	if (inject_order->trace)
		inject_tell_crashes();
}

void inject_arm(size_t fault, uint64_t at, bool always, bool trace)
{
	inject_order->fault = fault;
	inject_order->at = at;
	inject_order->always = always;
	inject_order->trace = trace;
	inject_order->seen = 0;
	inject_order->failed = 0;
	for (size_t k = 0; k < N_CALLS; k++)
		inject_order->calls[k] = 0;
	inject_order->armed = 1;
}

void inject_disarm(void)
{
	inject_order->armed = 0;
}

/* Only who reads requests of FUSE brings as much room; fstat(2) may be forbidden by now. */
static bool is_device(size_t room)
{
	return room > (128u << 10);
}

/* The order is lifted meanwhile: this calls what fails. */
static void tell(void)
{
	void *frames[40];

	inject_order->armed = 0;
	backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
	inject_order->armed = 1;
}

int inject_now(enum inject_call call, size_t size)
{
	struct inject_order *o = inject_order;
	const struct inject_fault *f;
	uint64_t n;

	if (!o || !o->armed)
		return 0;
	f = &inject_faults[o->fault];
	if (call == CALL_READ && is_device(size))
		call = CALL_DEVICE;
	/* the eight bytes of an eventfd(2) are always taken */
	if (call == CALL_WRITE && size == 8)
		return 0;
	atomic_fetch_add(&o->calls[call], 1);
	if (f->call != call)
		return 0;
	n = atomic_fetch_add(&o->seen, 1) + 1;
	if (n < o->at || (n > o->at && !o->always))
		return 0;
	if (atomic_fetch_add(&o->failed, 1) == 0 && o->trace)
		tell();
	if (f->error > 0)
		errno = f->error;
	return f->error;
}
