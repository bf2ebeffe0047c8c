/* SPDX-License-Identifier: Apache-2.0
 * Guest and host as one process: their threads are fibers, their clock, sockets, disk, registry and memory
 * are ours, and everything that is not decided by their code is decided by one seed. The code under test is
 * the production code, unmodified: the linker puts the functions of this folder in the place of libc's
 * (CMakeLists.txt has the list). One run is one seed; everything of a run lives in static storage or is found
 * through it, and is dropped when the run ends, however it ends.
 *
 * Nothing here may depend on an address, a real clock or a real thread: the same seed gives the same trace.
 */
#ifndef COCOON_TEST_SIM_H
#define COCOON_TEST_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define US 1000ll
#define MS (1000 * US)
#define SECOND (1000 * MS)

/* Who a fiber, an allocation or a descriptor belongs to. */
enum side { WORLD, GUEST, HOST, N_SIDES };

/* --- dice.c: randomness and the trace --- */

/* Streams of their own, so that one more decision of one kind does not change all others. */
enum stream { OF_PLAN, OF_SCHEDULE, OF_LINK, OF_DISK, OF_REGISTRY, OF_MEMORY, OF_GUEST, N_STREAMS };

void dice_init(uint64_t seed);
uint64_t dice(enum stream s);
uint32_t dice_below(enum stream s, uint32_t n); /* 0 … n − 1; 0 for n 0 */
int64_t dice_range(enum stream s, int64_t from, int64_t to);
bool dice_chance(enum stream s, uint32_t per_mille);

void trace_init(bool print);
/* One decision or one exchange with the outside: goes into the digest of the run. `what` is a literal. */
void trace(const char *what, int64_t a, int64_t b);
void trace_words(const char *words);
void trace_bytes(const void *p, size_t n);
void trace_end(char hex[static 65]);

/* --- fibers.c: threads and time --- */

struct fiber;

int64_t sim_now(void); /* nanoseconds since the run began */
void sim_pass(int64_t ns);
void sim_sleep(int64_t ns);
void sim_preempt(void); /* maybe let another run */
/* Wait until sim_wake(on) or until a point in time (negative: for ever). False: it was the time. */
bool sim_wait(const void *on, int64_t until);
void sim_wake_all(const void *on);
struct fiber *sim_spawn(enum side side, const char *name, void *(*start)(void *), void *arg);
void sim_join(struct fiber *f);
enum side sim_side(void); /* of the fiber that runs; WORLD outside of any */
/* The guest's promise: what this fiber does now ends before `limit`. 0: no promise. */
void sim_promise(int64_t limit, const char *what);
void sim_promise_all(enum side side, int64_t limit); /* ... and what all others do now, if it is a promise */
void sim_kill(enum side side);			     /* not that of the caller: as kill -9 does */
void sim_freeze(enum side side, int64_t until);
unsigned int sim_fibers_of(enum side side);
/* Runs `first` and all that it starts until it ends. */
void sim_run(void *(*first)(void *), void *arg);

/* What a fiber that polls waits for. sockets.c */
struct pollfd;
bool sim_wait_fds(const struct pollfd *fds, size_t n, int64_t until);
void sim_wake_fd(int fd);

/* A property does not hold: the run ends here, and does not return. */
__attribute__((noreturn, format(printf, 1, 2))) void sim_fail(const char *format, ...);
const char *sim_failure(void); /* NULL: none */
#define sim_check(x, ...)                                                                                    \
	do {                                                                                                 \
		if (!(x))                                                                                    \
			sim_fail(__VA_ARGS__);                                                               \
	} while (0)

/* --- memory.c --- */

void memory_reset(void); /* what is left of all sides but WORLD goes */
void memory_drop(enum side side);
size_t memory_blocks(enum side side), memory_bytes(enum side side), memory_peak(enum side side);
void memory_pressure(uint32_t per_mille); /* that many of the guest's allocations fail */
bool memory_refuses(void);		  /* this one does */
/* The simulator's own, not counted; abort when there is none. */
void *own_alloc(size_t n);
void *own_grow(void *p, size_t n);
void own_free(void *p);

/* --- files.c: descriptors of all kinds; nodes.c and disk.c: the host's disk --- */

struct file;
struct file_ops {
	void (*close)(struct file *f, int fd);
};
struct file {
	const struct file_ops *ops;
	enum side side;
};
int file_add(struct file *f); /* its descriptor; -1 and EMFILE when there are too many */
struct file *file_of(int fd, const struct file_ops *ops); /* NULL and EBADF */
void files_reset(void);
void files_close_side(enum side side);
unsigned int files_open(enum side side);

void disk_reset(void);
/* Up to n bytes from an open file for sendfile(); what was there. */
size_t disk_read(int fd, void *to, size_t n, uint64_t offset);
/* Between two lives of the host: drop, cut or spoil files of its chunk cache, so many in a thousand each. */
void disk_damage(uint32_t drop, uint32_t cut, uint32_t spoil);

/* --- links.c: the network; sockets.c and meddler.c stand on it --- */

void sockets_reset(void);
void network_reset(void);	 /* after files_reset(): no end is left */
void network_break(bool reset);	 /* every connection ends now */
void network_blackhole(bool on); /* all goes silent; afterwards those connections are reset */
void network_heal(void);	 /* nothing is held back any more */

/* --- images.c --- */

#include "proto/base/digest.h"
#include "seal_fixture.h"

#define N_IMAGES 6u
struct sim_image {
	uint8_t *plain; /* what every read is held against */
	size_t size;
	struct sealed sealed;
	struct digest manifest, descriptor, config_digest;
	char *config; /* as the registry has it */
	struct digest blobs[8];
	const char *true_config; /* sealed in the image */
};
extern struct sim_image images[N_IMAGES];
void images_make(void);

/* --- registry.c --- */

void registry_reset(void);
void registry_down(bool down); /* it does not answer */
void registry_retag(void);     /* the tag names another image from now on */

/* --- host.c --- */

void host_reset(void);
void host_start(void);
void host_stop(void);  /* in good order, and wait */
void host_crash(void); /* at once */
bool host_is_up(void); /* and serves */

/* --- guest.c --- */

void *guest_main(void *arg); /* a fiber of the guest: mounts, reads, checks, unmounts */

/* --- plan.c: what a seed does --- */

enum temper {
	CALM,	/* nothing happens: every call works */
	ROUGH,	/* faults that pass: a mount may fail, but nothing else does */
	HOSTILE /* everything */
};

/* What can happen to a frame on its way. */
enum fault {
	/* faults that pass: asking again helps */
	CUT,	    /* both directions end within the frame */
	RESET,	    /* both end at once, what was under way is lost */
	HALF_CLOSE, /* this direction ends behind the frame */
	DUPLICATE,
	REORDER,	/* others overtake it */
	SLOW,		/* it and all behind it */
	STATUS_PASSING, /* BUSY, UNAVAILABLE, INTERNAL */
	N_PASSING,
	/* the others */
	CORRUPT = N_PASSING, /* one bit */
	DROP,
	LATE, /* perhaps past the deadline */
	STALL,
	STATUS_FINAL,
	OTHER_ID,
	OTHER_TYPE,
	SIZE_LIE,
	GARBAGE,
	SWAP,	 /* the bytes of another chunk, or its number */
	UNASKED, /* one more answer */
	SHORTEN, /* and the header says so */
	OTHER_VERSION,
	OTHER_IMAGE,
	REPLAY, /* an older frame of this connection */
	N_FAULTS
};

/* Chances in a thousand frames. */
struct link_faults {
	uint32_t chance[N_FAULTS];
};

struct plan {
	uint64_t seed;
	enum temper temper;
	const struct sim_image *image, *other;
	bool vsock, want_digest, prefetch;
	unsigned int timeout_ms, wait_ms, cpus;
	size_t cache_bytes;
	unsigned int n_readers, n_ops;
	int64_t think; /* between two calls of a reader, at most */
	bool verify, stop;
	int64_t stop_at, heal_at;
	/* scheduling and calls, chances in a thousand */
	uint32_t preempt, spurious, interrupted, again, short_io, refuse, accept_fails;
	size_t window;		 /* bytes under way in one direction */
	int64_t latency, jitter; /* of a frame */
	struct link_faults answers, requests;
	unsigned int budget; /* of faults that end a connection */
	uint32_t disk_full, disk_error, damage;
	uint32_t registry_fails, registry_lies;
	int64_t registry_delay;
	uint32_t pressure;
	/* host */
	uint64_t cache_max;
	unsigned int max_open, max_chunks, fetchers;
	uint64_t max_fetch_bytes;
	/* what happens to the host, in order */
	unsigned int n_events;
	struct event {
		enum event_kind {
			RESTART,
			CRASH,
			FREEZE,
			BREAK,
			BLACKHOLE,
			REGISTRY_AWAY,
			RETAG,
			PRESSURE,
			N_EVENTS
		} kind;
		int64_t at, lasts;
	} events[8];
	bool healed; /* from now on nothing goes wrong */
	int64_t healed_at;
};
extern struct plan plan;
void plan_make(uint64_t seed);
void *director(void *arg); /* the first fiber: starts host and guest, does the events, heals, ends */

/* Sums over runs. */
struct totals {
	uint64_t runs, failed, calls, calls_failed, bytes, mounts, mounts_failed, switches, frames, faults,
		starts, verifies, steps;
	int64_t simulated, longest; /* nanoseconds; of one call */
	int64_t patience;	    /* of one read, in hundredths of its time-out */
	uint64_t peak;		    /* bytes of the guest */
};
extern struct totals totals;

#endif
