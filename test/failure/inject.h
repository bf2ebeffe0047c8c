/* SPDX-License-Identifier: Apache-2.0
 * One fault in one process: the Nth call of a kind fails, or every call from the Nth on. Allocators and
 * system calls are defined anew (inject_memory.c, inject_calls.c), in a test program or in a library that is
 * loaded before all others; they ask here first. The order lies in shared memory, so another process can give
 * it at any moment and read how far the calls have got. */
#ifndef COCOON_TEST_INJECT_H
#define COCOON_TEST_INJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Instead of an errno. */
enum {
	INJECT_SHORT = -1, /* one byte is moved */
	INJECT_END = -2,   /* the stream has ended */
};

enum inject_call {
	CALL_MEMORY, /* malloc(3) and its kin, whoever calls: OpenSSL, zstd, jansson, libfuse, libc */
	CALL_OPEN,
	CALL_READ,
	CALL_DEVICE, /* read(2) of /dev/fuse */
	CALL_WRITE,
	CALL_CLOSE,
	CALL_STAT,
	CALL_MMAP,
	CALL_SOCKET,
	CALL_CONNECT,
	CALL_SEND,
	CALL_RECV,
	CALL_POLL,
	CALL_THREAD,
	CALL_SLEEP,
	CALL_EVENTFD,
	CALL_SIGNALFD,
	CALL_SIGACTION,
	CALL_PIPE,
	CALL_FORK,
	CALL_DUP,
	CALL_PRCTL,
	CALL_RLIMIT,
	CALL_SYSCALL,
	CALL_IOCTL,
	CALL_FSOPEN,
	CALL_FSCONFIG,
	CALL_FSMOUNT,
	CALL_MOVE_MOUNT,
	CALL_MOUNT,
	CALL_UMOUNT,
	N_CALLS,
};

/* What a fault is used for, and what is expected. */
enum {
	IN_IMAGE = 1,  /* by test-failure */
	IN_DAEMON = 2, /* by mounts.py */
	HARMLESS = 4,  /* a single one must not be noticed; nothing real does it for ever */
};

struct inject_fault {
	const char *name; /* call/error */
	enum inject_call call;
	int error; /* errno, or INJECT_… */
	unsigned int flags;
};

extern const struct inject_fault inject_faults[];
extern const size_t inject_n_faults;

/* As mounts.py lays it out: 8 bytes each. */
struct inject_order {
	atomic_uint_fast64_t armed;
	uint64_t fault;			     /* in inject_faults */
	uint64_t at;			     /* 1 …: which call */
	uint64_t always;		     /* and all that follow */
	uint64_t trace;			     /* tell on stderr from where the first one was called */
	atomic_uint_fast64_t seen, failed;   /* of the fault's kind */
	atomic_uint_fast64_t calls[N_CALLS]; /* of every kind */
};

extern struct inject_order *inject_order; /* NULL: nothing fails */
extern atomic_long inject_live;		  /* allocations that were not freed */

void inject_arm(size_t fault, uint64_t at, bool always, bool trace);
void inject_disarm(void);

/* From where, on stderr. */
void inject_tell_crashes(void);

/* Shall this call fail? 0, or the fault's error; errno is set when it is one. `size`: of what it moves. */
int inject_now(enum inject_call call, size_t size);

#define INJECT_EXPORT __attribute__((visibility("default")))

#endif
