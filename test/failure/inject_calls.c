/* SPDX-License-Identifier: Apache-2.0
 * The system calls, under every name that a program compiled against glibc may call them by. No header that
 * declares them is included: large-file and fortified names would be redirected. Functions that take a
 * variable number of arguments are defined with the most that they take, which the ABI allows. */
#include "inject.h"

#include <errno.h>

extern void *dlsym(void *handle, const char *name);

#define NEXT ((void *)-1l) /* RTLD_NEXT */

struct sockaddr;

/* `failed` is given when the fault says so. */
#define CALL(type, name, call, failed, parameters, arguments)                                                \
	INJECT_EXPORT type name parameters;                                                                  \
	type name parameters                                                                                 \
	{                                                                                                    \
		static type(*_Atomic next) parameters;                                                       \
		if (!next)                                                                                   \
			next = (__extension__(type(*) parameters) dlsym(NEXT, #name));                       \
		if (inject_now(call, 0))                                                                     \
			return failed;                                                                       \
		return next arguments;                                                                       \
	}

/* One that moves bytes: n of them, or one, or none. */
#define MOVE(name, call, parameters, arguments)                                                              \
	INJECT_EXPORT long name parameters;                                                                  \
	long name parameters                                                                                 \
	{                                                                                                    \
		static long(*_Atomic next) parameters;                                                       \
		int fault;                                                                                   \
		if (!next)                                                                                   \
			next = (__extension__(long(*) parameters) dlsym(NEXT, #name));                       \
		fault = inject_now(call, n);                                                                 \
		if (fault > 0)                                                                               \
			return -1;                                                                           \
		if (fault == INJECT_END)                                                                     \
			return 0;                                                                            \
		if (fault == INJECT_SHORT && n > 1)                                                          \
			n = 1;                                                                               \
		return next arguments;                                                                       \
	}

CALL(int, open, CALL_OPEN, -1, (const char *p, int f, unsigned int m), (p, f, m))
CALL(int, open64, CALL_OPEN, -1, (const char *p, int f, unsigned int m), (p, f, m))
CALL(int, openat, CALL_OPEN, -1, (int d, const char *p, int f, unsigned int m), (d, p, f, m))
CALL(int, openat64, CALL_OPEN, -1, (int d, const char *p, int f, unsigned int m), (d, p, f, m))
CALL(int, __open_2, CALL_OPEN, -1, (const char *p, int f), (p, f))
CALL(int, __open64_2, CALL_OPEN, -1, (const char *p, int f), (p, f))

MOVE(read, CALL_READ, (int fd, void *p, size_t n), (fd, p, n))
MOVE(__read_chk, CALL_READ, (int fd, void *p, size_t n, size_t room), (fd, p, n, room))
MOVE(pread, CALL_READ, (int fd, void *p, size_t n, long at), (fd, p, n, at))
MOVE(pread64, CALL_READ, (int fd, void *p, size_t n, long at), (fd, p, n, at))
MOVE(__pread64_chk, CALL_READ, (int fd, void *p, size_t n, long at, size_t room), (fd, p, n, at, room))
MOVE(write, CALL_WRITE, (int fd, const void *p, size_t n), (fd, p, n))
MOVE(recv, CALL_RECV, (int fd, void *p, size_t n, int f), (fd, p, n, f))
MOVE(__recv_chk, CALL_RECV, (int fd, void *p, size_t n, size_t room, int f), (fd, p, n, room, f))
MOVE(send, CALL_SEND, (int fd, const void *p, size_t n, int f), (fd, p, n, f))

CALL(int, fstat, CALL_STAT, -1, (int fd, void *st), (fd, st))
CALL(int, fstat64, CALL_STAT, -1, (int fd, void *st), (fd, st))
CALL(int, stat, CALL_STAT, -1, (const char *p, void *st), (p, st))
CALL(int, stat64, CALL_STAT, -1, (const char *p, void *st), (p, st))
CALL(int, statx, CALL_STAT, -1, (int d, const char *p, int f, unsigned int m, void *x), (d, p, f, m, x))
CALL(void *, mmap, CALL_MMAP, (void *)-1l, (void *p, size_t n, int r, int f, int fd, long at),
     (p, n, r, f, fd, at))
CALL(void *, mmap64, CALL_MMAP, (void *)-1l, (void *p, size_t n, int r, int f, int fd, long at),
     (p, n, r, f, fd, at))

CALL(int, socket, CALL_SOCKET, -1, (int family, int type, int protocol), (family, type, protocol))
CALL(int, connect, CALL_CONNECT, -1, (int fd, const struct sockaddr *a, unsigned int n), (fd, a, n))
CALL(int, poll, CALL_POLL, -1, (void *p, unsigned long n, int ms), (p, n, ms))
CALL(int, __poll_chk, CALL_POLL, -1, (void *p, unsigned long n, int ms, size_t room), (p, n, ms, room))
CALL(int, pthread_create, CALL_THREAD, EAGAIN, (void *t, const void *a, void *(*fn)(void *), void *arg),
     (t, a, fn, arg))
CALL(int, clock_nanosleep, CALL_SLEEP, EINTR, (int clock, int f, const void *t, void *left),
     (clock, f, t, left))

CALL(int, eventfd, CALL_EVENTFD, -1, (unsigned int v, int f), (v, f))
CALL(int, signalfd, CALL_SIGNALFD, -1, (int fd, const void *set, int f), (fd, set, f))
CALL(int, sigaction, CALL_SIGACTION, -1, (int s, const void *new, void *old), (s, new, old))
CALL(int, pipe, CALL_PIPE, -1, (int *fds), (fds))
CALL(int, pipe2, CALL_PIPE, -1, (int *fds, int f), (fds, f))
CALL(int, fork, CALL_FORK, -1, (void), ())
CALL(int, dup, CALL_DUP, -1, (int fd), (fd))
CALL(int, dup2, CALL_DUP, -1, (int from, int to), (from, to))
CALL(int, prctl, CALL_PRCTL, -1, (int o, unsigned long a, unsigned long b, unsigned long c, unsigned long d),
     (o, a, b, c, d))
CALL(int, setrlimit, CALL_RLIMIT, -1, (int what, const void *limit), (what, limit))
CALL(int, setrlimit64, CALL_RLIMIT, -1, (int what, const void *limit), (what, limit))
CALL(long, syscall, CALL_SYSCALL, -1, (long number, long a, long b, long c, long d, long e, long f),
     (number, a, b, c, d, e, f))
CALL(int, ioctl, CALL_IOCTL, -1, (int fd, unsigned long request, void *p), (fd, request, p))

CALL(int, fsopen, CALL_FSOPEN, -1, (const char *type, unsigned int f), (type, f))
CALL(int, fsconfig, CALL_FSCONFIG, -1,
     (int fd, unsigned int command, const char *key, const void *value, int aux),
     (fd, command, key, value, aux))
CALL(int, fsmount, CALL_FSMOUNT, -1, (int fd, unsigned int f, unsigned int attributes), (fd, f, attributes))
CALL(int, move_mount, CALL_MOVE_MOUNT, -1, (int fd, const char *from, int at, const char *to, unsigned int f),
     (fd, from, at, to, f))
CALL(int, mount, CALL_MOUNT, -1,
     (const char *what, const char *to, const char *type, unsigned long f, const void *data),
     (what, to, type, f, data))
CALL(int, umount2, CALL_UMOUNT, -1, (const char *p, int f), (p, f))

/* What close(2) closes is closed, whatever it says. */
INJECT_EXPORT int close(int fd);
int close(int fd)
{
	static int (*_Atomic next)(int fd);

	if (!next)
		next = (__extension__(int (*)(int)) dlsym(NEXT, "close"));
	if (next(fd) < 0)
		return -1;
	return inject_now(CALL_CLOSE, 0) ? -1 : 0;
}
