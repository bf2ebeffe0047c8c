/* SPDX-License-Identifier: Apache-2.0
 * How long a host is waited for: one that is away, restarts, or has become another version. Times are bounds
 * with much room: they tell "at once" from "a time-out". */
#include "chunk_reads.h"
#include "guestfs/wire_connection.h"
#include "guestfs/wire_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

TestSuite(connection_life, .init = set_up, .fini = tear_down, .timeout = 120);

static void host_away(void)
{
	wire_host_stop(&w.host);
	(void)unlink(w.path);
}

static void *host_back_soon(void *arg)
{
	(void)arg;
	(void)usleep(700000);
	wire_host_start(&w.host, &w.sealed, w.path);
	return NULL;
}

Test(connection_life, that_a_host_is_away_is_known_for_a_while)
{
	struct image *i = must_open(1500);
	long began = now_ms();

	host_away();
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_gt(now_ms() - began, 1200);
	began = now_ms();
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_lt(now_ms() - began, 1000);
	/* it may have been here meanwhile */
	(void)usleep(3300000);
	began = now_ms();
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_gt(now_ms() - began, 1200);
	image_close(i);
	wire_host_start(&w.host, &w.sealed, w.path);
}

Test(connection_life, a_mount_waits_when_it_is_told_to)
{
	struct image *i = NULL;
	struct err e = {""};
	pthread_t t;
	long began = now_ms();

	host_away();
	cr_assert_eq(open_and_wait(&i, "localhost:5000/a", PATIENT_MS, 0, &e), -ECONNREFUSED);
	cr_assert_lt(now_ms() - began, 2000);
	cr_assert_lt(open_and_wait(&i, "localhost:5000/a", PATIENT_MS, 400, &e), 0);
	cr_assert_gt(now_ms() - began, 350);
	cr_assert_lt(now_ms() - began, 5000);
	cr_assert_eq(pthread_create(&t, NULL, host_back_soon, NULL), 0);
	cr_assert_eq(open_and_wait(&i, "localhost:5000/a", PATIENT_MS, PATIENT_MS, &e), 0, "%s", e.text);
	pthread_join(t, NULL);
	must_read_all(i);
	image_close(i);
}

/* A listener that takes every connection and says nothing or closes it. */
struct deaf_host {
	int fd;
	bool closes;
	atomic_bool stop;
	atomic_uint connections;
	pthread_t thread;
	int taken[64];
};

static void *be_deaf(void *arg)
{
	struct deaf_host *h = arg;
	unsigned int n = 0;

	while (!h->stop) {
		struct pollfd p = {.fd = h->fd, .events = POLLIN};
		int fd;

		if (poll(&p, 1, 10) != 1 || (fd = accept(h->fd, NULL, NULL)) < 0)
			continue;
		h->connections++;
		if (h->closes || n == 64)
			(void)close(fd);
		else
			h->taken[n++] = fd;
	}
	while (n > 0)
		(void)close(h->taken[--n]);
	(void)close(h->fd);
	return NULL;
}

static void deaf_host_start(struct deaf_host *h, bool closes)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	*h = (struct deaf_host){.closes = closes};
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", w.path);
	h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(h->fd, (const struct sockaddr *)&un, sizeof(un)), 0);
	cr_assert_eq(listen(h->fd, 64), 0);
	cr_assert_eq(pthread_create(&h->thread, NULL, be_deaf, h), 0);
}

static void deaf_host_stop(struct deaf_host *h)
{
	h->stop = true;
	pthread_join(h->thread, NULL);
	(void)unlink(w.path);
}

Test(connection_life, many_readers_make_no_storm_of_connections)
{
	struct image *i = must_open(PATIENT_MS);
	struct deaf_host deaf;
	pthread_t t[16];

	host_away();
	deaf_host_start(&deaf, true);
	for (int k = 0; k < 16; k++)
		cr_assert_eq(pthread_create(&t[k], NULL, read_everything, i), 0);
	(void)usleep(3000000);
	deaf_host_stop(&deaf);
	/* 20 + 40 + … + 640 ms, and then one a second */
	cr_assert_lt(deaf.connections, 12, "%u", deaf.connections);
	cr_assert_gt(deaf.connections, 4, "%u", deaf.connections);
	wire_host_start(&w.host, &w.sealed, w.path);
	for (int k = 0; k < 16; k++)
		pthread_join(t[k], NULL);
	cr_assert_eq(w.host.connections, 1);
	cr_assert_eq(stats_of(i).reconnects, 1);
	image_close(i);
}

static void *read_until_stopped(void *arg)
{
	cr_assert_lt(read_at(arg, BAD_AT, 4096, NULL), 0);
	return NULL;
}

Test(connection_life, stopping_ends_the_wait_for_a_host_that_hangs)
{
	struct image *i = must_open(PATIENT_MS);
	struct deaf_host deaf;
	pthread_t t[2];
	long began;

	host_away();
	deaf_host_start(&deaf, false);
	for (int k = 0; k < 2; k++)
		cr_assert_eq(pthread_create(&t[k], NULL, read_until_stopped, i), 0);
	(void)usleep(500000);
	cr_assert_eq(deaf.connections, 1);
	began = now_ms();
	image_stop(i);
	for (int k = 0; k < 2; k++)
		pthread_join(t[k], NULL);
	cr_assert_lt(now_ms() - began, 500);
	image_close(i);
	deaf_host_stop(&deaf);
	wire_host_start(&w.host, &w.sealed, w.path);
}

static size_t another_version(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	(void)arg;
	(void)serial;
	if (type == WIRE_HELLO) {
		put_le16(frame->data + 6, WIRE_UNSUPPORTED);
		put_le32(frame->data, 8);
		frame->size = 24;
	}
	return frame->size;
}

Test(connection_life, a_host_of_another_version_fails_reads_until_one_of_ours_is_back)
{
	struct image *i = must_open(PATIENT_MS), *none = NULL;
	struct err e = {""};
	long began = now_ms();

	wire_host_tamper(&w.host, another_version, NULL);
	wire_host_quiet(&w.host);
	for (int k = 0; k < 20; k++)
		cr_assert_eq(read_at(i, BAD_AT, 4096, &e), -ENOTSUP, "%s", e.text);
	cr_assert_eq(open_and_wait(&none, "localhost:5000/a", PATIENT_MS, PATIENT_MS, &e), -ENOTSUP);
	cr_assert_lt(now_ms() - began, 2000);
	wire_host_tamper(&w.host, NULL, NULL);
	will_read_all(i);
	image_close(i);
}

Test(connection_life, what_is_in_memory_waits_for_nobody)
{
	struct image *i = must_open(PATIENT_MS);
	pthread_t t[8];

	must_read_at(i, 4096);
	host_away();
	for (int k = 0; k < 8; k++)
		cr_assert_eq(pthread_create(&t[k], NULL, read_until_stopped, i), 0);
	(void)usleep(200000);
	for (int k = 0; k < 100; k++) {
		long began = now_ms();

		must_read_at(i, 4096);
		cr_assert_lt(now_ms() - began, 50);
	}
	image_stop(i);
	for (int k = 0; k < 8; k++)
		pthread_join(t[k], NULL);
	image_close(i);
	wire_host_start(&w.host, &w.sealed, w.path);
}

/* The first answer to OPEN has another digit in the config's digest, which no mount looks at; and no host
 * knows a manifest of that digest. */
static size_t change_manifest_once(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	atomic_bool *done = arg;
	uint8_t raw[WIRE_HEADER_SIZE];
	struct wire_header h = {.type = WIRE_OPEN, .status = WIRE_NOT_FOUND};
	uint8_t *digit;

	(void)serial;
	if (type != WIRE_OPEN)
		return frame->size;
	digit = memmem(frame->data, frame->size, "sha256:", 7);
	if (!*done && digit) {
		digit[7] = digit[7] == '0' ? '1' : '0';
		*done = true;
	} else if (strchr(w.host.opened, '@')) {
		h.id = get_le64(frame->data + 8);
		h.size = 4;
		wire_header_encode(&h, raw);
		buf_deinit(frame);
		buf_put(frame, raw, sizeof(raw));
		buf_put(frame, "\0\0\0\0", 4);
	}
	return frame->size;
}

Test(connection_life, a_manifest_that_was_changed_on_its_way_in_costs_no_remount)
{
	atomic_bool done = false;
	struct err e = {""};
	struct image *i;

	wire_host_tamper(&w.host, change_manifest_once, &done);
	i = must_open(2000);
	cr_assert(done);
	for (size_t k = 0; k < 2; k++) {
		wire_host_break(&w.host);
		cr_assert_eq(read_at(i, k * 65536, CHUNK, &e), 0, "%s", e.text);
	}
	image_close(i);
}

static size_t spoil_handle_once(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	atomic_bool *done = arg;

	(void)serial;
	if (type == WIRE_OPEN && w.host.opens > 1 && !*done) {
		frame->data[16] ^= 1;
		*done = true;
	}
	return frame->size;
}

/* The simulator's seed 40787: the host knows no such handle, as long as the connection lasts. */
Test(connection_life, a_handle_that_was_changed_on_its_way_is_asked_for_again)
{
	struct image *i = must_open(2000);
	atomic_bool done = false;
	struct err e = {""};

	wire_host_tamper(&w.host, spoil_handle_once, &done);
	wire_host_break(&w.host);
	cr_assert_eq(read_at(i, 65536, CHUNK, &e), 0, "%s", e.text);
	cr_assert(done);
	image_close(i);
}

static void on_alarm(int signal)
{
	(void)signal;
}

#define ON_ITS_WAY 3

/* A listener, and streams to it: a full backlog leaves the last one on its way for as long as it lasts. */
struct full_backlog {
	int listener, fds[ON_ITS_WAY + 1];
};

static void fill_backlog(struct full_backlog *b)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(to);

	b->listener = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(b->listener, (const struct sockaddr *)&to, sizeof(to)), 0);
	cr_assert_eq(listen(b->listener, 0), 0);
	cr_assert_eq(getsockname(b->listener, (struct sockaddr *)&to, &size), 0);
	for (int k = 0; k <= ON_ITS_WAY; k++) {
		b->fds[k] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(b->fds[k], (const struct sockaddr *)&to, sizeof(to));
		(void)usleep(LITTLE_WHILE_US);
	}
}

static void drain_backlog(const struct full_backlog *b)
{
	for (int k = 0; k <= ON_ITS_WAY; k++)
		(void)close(b->fds[k]);
	(void)close(b->listener);
}

Test(connection_life, a_signal_does_not_end_the_wait_for_a_connection)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval every = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
	struct full_backlog b;
	struct deadline deadline;
	long began;
	int r;

	fill_backlog(&b);
	cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
	cr_assert_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
	began = now_ms();
	deadline = deadline_after(500);
	r = stream_connected(&(struct stream){.fd = b.fds[ON_ITS_WAY]}, &deadline, NULL);
	cr_assert_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	cr_assert_eq(r, -ETIMEDOUT);
	cr_assert_geq(now_ms() - began, 400);
	cr_assert_leq(now_ms() - began, 5000);
	drain_backlog(&b);
}

static int dial_what_is_on_its_way(void *arg, struct err *e)
{
	const struct full_backlog *b = arg;

	(void)e;
	return dup(b->fds[ON_ITS_WAY]);
}

static void *open_it(void *source)
{
	uint8_t descriptor[DESCRIPTOR_SIZE];
	struct buf manifest = {.max = MAX_MANIFEST_SIZE};
	struct source *s = source;
	struct err e = {""};

	cr_assert_lt(s->ops->open(s, &manifest, descriptor, &e), 0);
	buf_deinit(&manifest);
	return NULL;
}

/* The simulator's seed 11554: whoever ended the mount waited for the whole time-out. */
Test(connection_life, a_stop_reaches_a_stream_that_is_not_connected_yet)
{
	struct reference reference;
	struct full_backlog b;
	struct source *s;
	struct err e = {""};
	pthread_t thread;
	long began;

	fill_backlog(&b);
	cr_assert_eq(reference_parse(&reference, "localhost:5000/a:1", &e), 0);
	cr_assert_eq(source_wire_new(&s,
				     &(struct source_wire_options){.address = "unix:/nowhere",
								   .reference = &reference,
								   .dial = dial_what_is_on_its_way,
								   .dial_arg = &b,
								   .timeout_ms = 20000,
								   .wait_ms = 20000},
				     &e),
		     0, "%s", e.text);
	cr_assert_eq(pthread_create(&thread, NULL, open_it, s), 0);
	(void)usleep(10 * LITTLE_WHILE_US);
	began = now_ms();
	s->ops->stop(s);
	pthread_join(thread, NULL);
	cr_assert_leq(now_ms() - began, 5000);
	s->ops->close(s);
	drain_backlog(&b);
}
