/* SPDX-License-Identifier: Apache-2.0
 * What becomes of a chunk, and of all others, when the host's answer for it says no, breaks the rules, comes
 * late or never. Times are bounds with much room: they tell "at once" from "a time-out". */
#include "chunk_reads.h"

#include <errno.h>
#include <stdatomic.h>

TestSuite(chunk_answers, .init = set_up, .fini = tear_down, .timeout = 120);

/* What the host does to answers for chunks: to one of them, or to all. */
enum trick { STATUS, BREAK_RULES, RESET, SWALLOW, SWALLOW_TILL_LATER };

static struct {
	atomic_bool on;
	enum trick trick;
	enum wire_status status;
	bool every;
	struct buf late;
	atomic_bool flush; /* `late` goes behind the next answer */
	atomic_uint played;
} lie;

static size_t play(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	bool bad;

	(void)arg;
	(void)serial;
	if (!lie.on || type != WIRE_CHUNKS)
		return frame->size;
	bad = get_le32(frame->data + 16) == w.sealed.n_meta_chunks + BAD;
	if (!bad && !lie.every) {
		if (lie.flush) {
			buf_put(frame, lie.late.data, lie.late.size);
			lie.late.size = 0;
		}
		return frame->size;
	}
	atomic_fetch_add(&lie.played, 1);
	switch (lie.trick) {
	case STATUS:
		put_le16(frame->data + 6, (uint16_t)lie.status);
		put_le32(frame->data, 8);
		frame->size = 24;
		return 24;
	case BREAK_RULES:
		put_le16(frame->data + 4, WIRE_INDEX);
		return frame->size;
	case RESET:
		return 1;
	case SWALLOW_TILL_LATER:
		buf_put(&lie.late, frame->data, frame->size);
		return WIRE_HOST_SWALLOW;
	case SWALLOW:
		break;
	}
	return WIRE_HOST_SWALLOW;
}

static void begin_lie(enum trick trick, enum wire_status status, bool every)
{
	lie.trick = trick;
	lie.status = status;
	lie.every = every;
	lie.late.max = 1 << 20;
	lie.on = true;
	wire_host_tamper(&w.host, play, NULL);
}

Test(chunk_answers, a_chunk_that_the_host_fails_with_costs_little)
{
	static const struct {
		enum trick trick;
		enum wire_status status;
	} lies[] = {
		{STATUS, WIRE_INTERNAL}, {STATUS, WIRE_NOT_FOUND}, {STATUS, WIRE_DENIED},
		{STATUS, WIRE_INVALID},	 {BREAK_RULES, 0},
	};

	for (size_t k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
		struct image *i = must_open(PATIENT_MS);
		long began = now_ms();

		begin_lie(lies[k].trick, lies[k].status, false);
		for (int again = 0; again < 20; again++)
			cr_assert_eq(bad_pages(i, BAD_AT), 4, "%zu", k);
		cr_assert_eq(bad_pages(i, BAD_AT + CHUNK), 0);
		cr_assert_lt(now_ms() - began, 3000, "%zu", k);
		lie.on = false;
		(void)usleep(REMEMBERED_US);
		cr_assert_eq(bad_pages(i, BAD_AT), 0, "%zu", k);
		must_read_all(i);
		image_close(i);
	}
}

Test(chunk_answers, a_failure_that_passes_within_some_tries_is_not_seen)
{
	struct image *i = must_open(PATIENT_MS);

	begin_lie(STATUS, WIRE_INTERNAL, true);
	lie.played = 0;
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_eq(lie.played, 5);
	image_close(i);
}

static void *tell_the_truth_soon(void *arg)
{
	(void)usleep(1500000);
	atomic_store((atomic_bool *)arg, false);
	return NULL;
}

Test(chunk_answers, a_registry_that_is_away_is_waited_for)
{
	struct image *i = must_open(PATIENT_MS);
	pthread_t t;
	long began = now_ms();

	begin_lie(STATUS, WIRE_UNAVAILABLE, true);
	cr_assert_eq(pthread_create(&t, NULL, tell_the_truth_soon, &lie.on), 0);
	must_read_at(i, BAD_AT);
	cr_assert_gt(now_ms() - began, 1000);
	pthread_join(t, NULL);
	cr_assert_eq(w.host.connections, 1);
	image_close(i);
}

Test(chunk_answers, a_registry_that_stays_away_is_waited_for_once)
{
	struct image *i = must_open(1500);
	long began = now_ms();

	must_read_at(i, 0); /* the map */
	begin_lie(STATUS, WIRE_UNAVAILABLE, true);
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_gt(now_ms() - began, 1300);
	began = now_ms();
	for (size_t k = 0; k < 50; k++)
		cr_assert_lt(read_at(i, 4096 + k * CHUNK, 4096, NULL), 0);
	cr_assert_lt(now_ms() - began, 1000);
	lie.on = false;
	(void)usleep(REMEMBERED_US);
	must_read_all(i);
	/* another time is another time */
	lie.on = true;
	began = now_ms();
	cr_assert_lt(read_at(i, BAD_AT, 4096, NULL), 0);
	cr_assert_gt(now_ms() - began, 1300);
	image_close(i);
}

/* A host that answers BUSY now and then, for longer than anyone waits, is not away. */
Test(chunk_answers, a_busy_host_is_not_one_that_is_away)
{
	struct image *i = must_open(1000);
	long end = now_ms() + 3000;

	while (now_ms() < end) {
		w.host.busy = 1;
		must_read_all(i);
	}
	image_close(i);
}

Test(chunk_answers, a_host_that_hangs_goes_on_where_it_was)
{
	struct image *i = must_open(PATIENT_MS);
	pthread_t t;

	must_read_at(i, 0);
	/* the serving thread waits for this lock */
	pthread_mutex_lock(&w.host.lock);
	cr_assert_eq(pthread_create(&t, NULL, read_everything, i), 0);
	(void)usleep(1000000);
	pthread_mutex_unlock(&w.host.lock);
	pthread_join(t, NULL);
	cr_assert_eq(w.host.connections, 1);
	image_close(i);
}

/* The host must not seem silent for half of it, on a busy machine either. */
#define SWALLOWED_MS 4000

static void *read_bad(void *arg)
{
	struct err e = {""};

	cr_assert_eq(read_at(arg, BAD_AT, 4096, &e), -ETIMEDOUT, "%s", e.text);
	return NULL;
}

/* The reader of a chunk that never comes, and one of others until it has given up. */
static void read_around(struct image *i)
{
	long end = now_ms() + SWALLOWED_MS + 300;
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, read_bad, i), 0);
	while (now_ms() < end)
		for (size_t k = 0; k < 32; k++)
			must_read_at(i, 4096 + k * CHUNK);
	pthread_join(t, NULL);
}

Test(chunk_answers, a_request_without_an_answer_is_given_up_alone)
{
	struct image *i = must_open(SWALLOWED_MS);

	must_read_at(i, 0);
	begin_lie(SWALLOW, 0, false);
	read_around(i);
	cr_assert_eq(w.host.connections, 1);
	cr_assert_eq(stats_of(i).timeouts, 1);
	cr_assert_eq(stats_of(i).reconnects, 0);
	/* half of the three requests that this host takes are for others: it is left at the second */
	(void)usleep(REMEMBERED_US);
	read_around(i);
	cr_assert_eq(w.host.connections, 2);
	image_close(i);
}

Test(chunk_answers, an_answer_that_comes_late_is_dropped)
{
	struct image *i = must_open(SWALLOWED_MS);

	must_read_at(i, 0);
	begin_lie(SWALLOW_TILL_LATER, 0, false);
	read_around(i);
	lie.flush = true;
	must_read_at(i, 4096);
	cr_assert_eq(lie.late.size, 0);
	lie.on = false;
	(void)usleep(REMEMBERED_US);
	must_read_all(i);
	cr_assert_eq(w.host.connections, 1);
	buf_deinit(&lie.late);
	image_close(i);
}

static size_t fail_index(void *arg, enum wire_type type, unsigned int serial, struct buf *frame)
{
	(void)serial;
	if (type != WIRE_INDEX)
		return frame->size;
	atomic_fetch_add((atomic_uint *)arg, 1);
	put_le16(frame->data + 6, WIRE_INTERNAL);
	put_le32(frame->data, 8);
	frame->size = 24;
	return 24;
}

/* Every read below such a block meets it: one of them tries again and again, the others know. */
Test(chunk_answers, a_part_of_the_index_that_the_host_fails_with_costs_little)
{
	static atomic_uint asked;
	struct buf manifest = {.max = MAX_MANIFEST_SIZE};
	uint8_t descriptor[DESCRIPTOR_SIZE], got[4096];
	struct reference ref;
	struct source *s;
	struct err e = {""};

	cr_assert_eq(reference_parse(&ref, "localhost:5000/a/b", &e), 0);
	cr_assert_eq(source_wire_new(
			     &s, &(struct source_wire_options){.address = w.address, .reference = &ref}, &e),
		     0);
	cr_assert_eq(s->ops->open(s, &manifest, descriptor, &e), 0, "%s", e.text);
	wire_host_tamper(&w.host, fail_index, &asked);
	for (int again = 0; again < 50; again++)
		cr_assert_eq(s->ops->read_index(s, got, sizeof(got), 4096, &e), -EREMOTEIO);
	cr_assert_eq(asked, 5);
	/* another block is another matter */
	cr_assert_eq(s->ops->read_index(s, got, sizeof(got), 8192, &e), -EREMOTEIO);
	cr_assert_eq(asked, 10);
	wire_host_tamper(&w.host, NULL, NULL);
	(void)usleep(REMEMBERED_US);
	cr_assert_eq(s->ops->read_index(s, got, sizeof(got), 4096, &e), 0, "%s", e.text);
	s->ops->close(s);
	buf_deinit(&manifest);
}
