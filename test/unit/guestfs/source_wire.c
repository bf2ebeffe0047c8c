/* SPDX-License-Identifier: Apache-2.0
 * The wire's guest side against hosts that break, lie, stall and come back. */
#include "wire_world.h"

#include <errno.h>

TestSuite(source_wire, .init = set_up, .fini = tear_down, .timeout = 120);

Test(source_wire, reads_an_image)
{
	struct image *i = must_open(0);

	must_read_all(i);
	cr_assert_eq(w.host.connections, 1);
	cr_assert_str_eq(w.host.opened, "localhost:5000/a/b:tag");
	image_close(i);
}

Test(source_wire, comes_back_after_a_break_and_asks_by_digest)
{
	struct image *i = must_open(0);
	char text[DIGEST_TEXT_SIZE], want[200];

	for (int k = 0; k < 5; k++) {
		wire_host_break(&w.host);
		must_read_all(i);
	}
	cr_assert_geq(w.host.opens, 5);
	(void)snprintf(want, sizeof(want), "localhost:5000/a/b@%s",
		       digest_text(image_manifest_digest(i), text));
	cr_assert_str_eq(w.host.opened, want);
	image_close(i);
}

static void *restart_soon(void *arg)
{
	(void)arg;
	(void)usleep(300000);
	wire_host_start(&w.host, &w.sealed, w.path);
	return NULL;
}

Test(source_wire, waits_for_a_host_that_restarts)
{
	struct image *i = must_open(0), *none = NULL;
	struct err e = {""};
	pthread_t t;

	wire_host_stop(&w.host);
	(void)unlink(w.path);
	/* a mount says at once that nobody is there */
	cr_assert_eq(try_open(&none, "localhost:5000/a/b", 0, &e), -ECONNREFUSED, "%s", e.text);
	cr_assert_eq(pthread_create(&t, NULL, restart_soon, NULL), 0);
	must_read_all(i);
	pthread_join(t, NULL);
	image_close(i);
}

Test(source_wire, refuses_another_image_under_the_same_digest)
{
	struct image *i = must_open(2000);
	struct sealed other;
	struct err e = {""};

	seal(&other, w.plain, SIZE, &(struct seal_options){0});
	w.host.other = &other;
	wire_host_break(&w.host);
	cr_assert_eq(read_all(i, &e), -EBADMSG, "%s", e.text);
	w.host.other = NULL;
	will_read_all(i);
	image_close(i);
	seal_free(&other);
}

Test(source_wire, asks_a_busy_host_again)
{
	struct image *i = must_open(0);

	w.host.busy = 7;
	must_read_all(i);
	cr_assert_eq(w.host.busy, 0);
	image_close(i);
}

static size_t say_not_found(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	(void)arg;
	(void)serial;
	if (type == WIRE_CHUNKS) {
		frame->data[6] = WIRE_NOT_FOUND;
		put_le32(frame->data, 8);
		frame->size = 24;
	}
	return frame->size;
}

Test(source_wire, a_host_that_lacks_a_chunk_fails_the_read_at_once)
{
	struct image *i = must_open(0);
	struct err e = {""};

	wire_host_tamper(&w.host, say_not_found, NULL);
	cr_assert_lt(read_all(i, &e), 0);
	wire_host_tamper(&w.host, NULL, NULL);
	must_read_all(i);
	image_close(i);
}

/* Ways to break the wire's rules in the n-th answer. */
enum trick {
	CUT,
	HUGE_SIZE,
	LARGER,
	UNKNOWN_TYPE,
	WRONG_TYPE,
	UNKNOWN_STATUS,
	ID_ZERO,
	ID_WRONG,
	TWICE,
	OTHER_CHUNK,
	NOISE,
	N_TRICKS
};

struct plan {
	enum trick trick;
	unsigned int when; /* which answer */
	size_t cut;
};

static size_t play(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	struct plan *p = arg;

	(void)type;
	if (serial != p->when)
		return frame->size;
	switch (p->trick) {
	case CUT:
		return p->cut < frame->size ? p->cut : frame->size - 1;
	case HUGE_SIZE:
		put_le32(frame->data, 0xffffffff);
		break;
	case LARGER:
		buf_zero(frame, WIRE_MAX_PAYLOAD - (frame->size - WIRE_HEADER_SIZE));
		put_le32(frame->data, WIRE_MAX_PAYLOAD);
		break;
	case UNKNOWN_TYPE:
		put_le16(frame->data + 4, 9);
		break;
	case WRONG_TYPE:
		put_le16(frame->data + 4, frame->data[4] == WIRE_CHUNKS ? WIRE_INDEX : WIRE_CHUNKS);
		break;
	case UNKNOWN_STATUS:
		put_le16(frame->data + 6, 77);
		break;
	case ID_ZERO:
		put_le64(frame->data + 8, 0);
		break;
	case ID_WRONG:
		put_le64(frame->data + 8, get_le64(frame->data + 8) + 1000);
		break;
	case TWICE: {
		size_t n = frame->size;
		uint8_t *copy = malloc(n);

		cr_assert(copy);
		memcpy(copy, frame->data, n);
		buf_put(frame, copy, n);
		free(copy);
		break;
	}
	case OTHER_CHUNK:
		put_le32(frame->data + 16, get_le32(frame->data + 16) ^ 0x4000);
		break;
	case NOISE:
		memcpy(frame->data, "HTTP/1.1 400 Bad", 16);
		break;
	case N_TRICKS:
		break;
	}
	return frame->size;
}

Test(source_wire, survives_every_trick_after_the_mount)
{
	for (int trick = 0; trick < N_TRICKS; trick++) {
		struct image *i = must_open(0);
		struct plan p = {.trick = (enum trick)trick, .when = 3, .cut = (size_t)trick * 5};

		wire_host_tamper(&w.host, play, &p);
		must_read_all(i);
		cr_assert_gt(wire_host_tamper(&w.host, NULL, NULL), p.when);
		image_close(i);
		wire_host_quiet(&w.host);
	}
}

Test(source_wire, is_cut_at_every_byte_of_an_answer)
{
	struct image *i = must_open(0);
	struct plan p = {.trick = CUT, .when = 2}; /* the first after HELLO and OPEN */

	for (p.cut = 0; p.cut < 60; p.cut++) {
		wire_host_quiet(&w.host);
		wire_host_tamper(&w.host, play, &p);
		must_read_all(i);
		wire_host_tamper(&w.host, NULL, NULL);
	}
	image_close(i);
}

Test(source_wire, a_mount_is_refused_for_every_trick)
{
	/* HELLO, OPEN, INDEX, and the root chunk; a connection that breaks after OPEN is made again */
	for (unsigned int when = 0; when < 2; when++) {
		for (int trick = 0; trick < N_TRICKS; trick++) {
			struct plan p = {.trick = (enum trick)trick, .when = when};
			struct image *i = NULL;
			struct err e = {""};
			int r;

			if (trick == TWICE && when == 1)
				continue; /* the second is an answer to nothing, noticed later */
			wire_host_tamper(&w.host, play, &p);
			r = try_open(&i, "localhost:5000/a/b", 3000, &e);
			if (trick == OTHER_CHUNK && when == 1) {
				cr_assert_eq(r, 0); /* a handle is any number; the next request finds out */
			} else if (!(trick == TWICE && when == 0)) {
				cr_assert_lt(r, 0, "%d %d", when, trick);
			}
			image_close(i);
			wire_host_quiet(&w.host);
		}
	}
}

static size_t lie_about_the_manifest(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	(void)arg;
	(void)serial;
	if (type == WIRE_OPEN)
		put_le32(frame->data + WIRE_HEADER_SIZE + 4, 1);
	return frame->size;
}

/* A connection that broke kept the words of whoever noticed, also where nobody had asked for any. */
Test(source_wire, an_answer_that_is_none_needs_no_words)
{
	struct source *s;
	struct reference ref;
	struct err e = {""};
	struct image *i = NULL;

	cr_assert_eq(reference_parse(&ref, "localhost:5000/a/b", &e), 0);
	cr_assert_eq(source_wire_new(
			     &s, &(struct source_wire_options){.address = w.address, .reference = &ref}, &e),
		     0);
	wire_host_tamper(&w.host, lie_about_the_manifest, NULL);
	cr_assert_eq(image_open(&i, s, &(struct image_options){.find_key = find_given_key}, NULL), -EPROTO);
	s->ops->close(s);
}

static size_t stall(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	(void)serial;
	if (type == WIRE_CHUNKS && atomic_load((atomic_bool *)arg)) {
		(void)usleep(900000);
		return 10;
	}
	return frame->size;
}

Test(source_wire, a_stalling_host_costs_the_deadline_and_no_more)
{
	struct image *i = must_open(500);
	static atomic_bool on = true;
	struct timespec a, b;
	struct err e = {""};

	wire_host_tamper(&w.host, stall, &on);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	cr_assert_eq(read_all(i, &e), -ETIMEDOUT, "%s", e.text);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	cr_assert_lt(b.tv_sec - a.tv_sec, 3);
	on = false;
	must_read_all(i);
	image_close(i);
}

static long milliseconds_of_a_failure(struct image *i)
{
	struct timespec a, b;
	struct err e = {""};

	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	cr_assert_lt(read_all(i, &e), 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	return (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
}

Test(source_wire, a_host_that_is_away_is_waited_for_once)
{
	struct image *i = must_open(3000);

	wire_host_stop(&w.host);
	cr_assert_gt(milliseconds_of_a_failure(i), 2000);
	cr_assert_lt(milliseconds_of_a_failure(i), 200);
	wire_host_start(&w.host, &w.sealed, w.path);
	will_read_all(i);
	wire_host_stop(&w.host);
	cr_assert_gt(milliseconds_of_a_failure(i), 2000);
	image_close(i);
	wire_host_start(&w.host, &w.sealed, w.path);
}

static void *read_until_stopped(void *arg)
{
	struct err e = {""};

	cr_assert_eq(read_all(arg, &e), -ESHUTDOWN, "%s", e.text);
	return NULL;
}

Test(source_wire, stopping_ends_the_wait_for_a_host_that_is_away)
{
	struct image *i = must_open(0);
	struct timespec a, b;
	pthread_t t;

	wire_host_stop(&w.host);
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	cr_assert_eq(pthread_create(&t, NULL, read_until_stopped, i), 0);
	(void)usleep(200000);
	image_stop(i);
	pthread_join(t, NULL);
	image_close(i);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	cr_assert_lt(b.tv_sec - a.tv_sec, 5);
	wire_host_start(&w.host, &w.sealed, w.path);
}

struct reader {
	struct image *i;
	unsigned int seed;
};

static void *random_reads(void *arg)
{
	struct reader *r = arg;
	uint8_t got[50000];

	for (int k = 0; k < 100; k++) {
		size_t n = (size_t)rand_r(&r->seed) % sizeof(got), at = (size_t)rand_r(&r->seed) % (SIZE - n);
		struct err e = {""};
		int x = image_pread(r->i, got, n, at, &e);

		cr_assert_eq(x, 0, "%d: %s", x, e.text);
		cr_assert_eq(memcmp(got, w.plain + at, n), 0);
	}
	return NULL;
}

Test(source_wire, many_readers_while_the_connection_breaks)
{
	struct image *i = must_open(0);
	struct reader r[6];
	pthread_t t[6];

	for (unsigned int k = 0; k < 6; k++) {
		r[k] = (struct reader){i, k};
		cr_assert_eq(pthread_create(&t[k], NULL, random_reads, &r[k]), 0);
	}
	for (int k = 0; k < 20; k++) {
		(void)usleep(5000);
		wire_host_break(&w.host);
	}
	for (int k = 0; k < 6; k++)
		pthread_join(t[k], NULL);
	image_close(i);
}

Test(source_wire, refuses_addresses_and_references_it_cannot_ask_for)
{
	struct reference layout = {.layout = true}, good;
	struct source *s = NULL;
	struct err e = {""};

	cr_assert_eq(reference_parse(&good, "localhost:5000/a", &e), 0);
	cr_assert_eq(source_wire_new(
			     &s, &(struct source_wire_options){.address = "tcp:1", .reference = &good}, &e),
		     -EINVAL);
	cr_assert_eq(
		source_wire_new(&s, &(struct source_wire_options){.address = w.address, .reference = &layout},
				&e),
		-EINVAL);
	cr_assert_null(s);
}
