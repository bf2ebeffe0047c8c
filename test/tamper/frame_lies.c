/* SPDX-License-Identifier: Apache-2.0
 * Lies in the frames of an answer: order, number, length, ids, types, what belongs to which header; and
 * connections that end anywhere. */
#include "scene.h"

#include <stdlib.h>
#include <string.h>

#define HONEST_AFTER 3u /* connections of one run */

static size_t some_frame(struct scene *s, const struct answer *a)
{
	return random_below(&s->random, a->n);
}

static void swap_frames(struct answer *a, size_t x, size_t y)
{
	struct buf frame = a->frames[x];

	a->frames[x] = a->frames[y];
	a->frames[y] = frame;
}

static size_t payload_size(const struct buf *frame)
{
	return frame->size - WIRE_HEADER_SIZE;
}

static bool shuffle(struct scene *s, struct answer *a)
{
	for (size_t k = a->n; k > 1; k--)
		swap_frames(a, k - 1, random_below(&s->random, k));
	return false;
}

static bool say_twice(struct scene *s, struct answer *a)
{
	size_t k = some_frame(s, a), n = a->n;

	if (n == HOST_FRAMES)
		return false;
	a->frames[n].size = 0;
	buf_put(&a->frames[n], a->frames[k].data, a->frames[k].size);
	a->n++;
	swap_frames(a, n, some_frame(s, a));
	return false;
}

static bool drop(struct scene *s, struct answer *a)
{
	swap_frames(a, some_frame(s, a), a->n - 1);
	a->n--;
	return true;
}

static bool cut(struct scene *s, struct answer *a)
{
	size_t k = some_frame(s, a);

	a->frames[k].size = random_below(&s->random, a->frames[k].size);
	a->n = k + 1;
	return true;
}

static bool hang_up(struct scene *s, struct answer *a)
{
	a->n = random_below(&s->random, a->n + 1);
	return true;
}

/* A shorter or longer payload that the header agrees with. */
static bool resize(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];
	size_t by = 1 + random_below(&s->random, random_one_in(&s->random, 4) ? 100000 : 40);

	if (random_one_in(&s->random, 2))
		buf_zero(f, by);
	else
		f->size -= by < payload_size(f) ? by : payload_size(f);
	put_le32(f->data, (uint32_t)payload_size(f));
	return false;
}

/* A header that does not agree. */
static bool lie_about_size(struct scene *s, struct answer *a)
{
	scene_change_number(s, a->frames[some_frame(s, a)].data, 4);
	return true;
}

static bool change_type_or_status(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];

	put_le16(f->data + (random_one_in(&s->random, 2) ? 4 : 6), (uint16_t)random_below(&s->random, 10));
	return true;
}

static bool change_id(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];

	if (random_one_in(&s->random, 2))
		put_le64(f->data + 8,
			 get_le64(f->data + 8) - 1 - random_below(&s->random, 4)); /* one that is over */
	else
		scene_change_number(s, f->data + 8, 8);
	return true;
}

/* The fields of the payload: a handle, a length, a chunk's number. */
static bool change_field(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];

	if (payload_size(f) >= 8)
		scene_change_number(s, f->data + WIRE_HEADER_SIZE + 4 * random_below(&s->random, 2), 4);
	return true;
}

/* Two chunks' numbers change places; the bytes stay. */
static bool swap_numbers(struct scene *s, struct answer *a)
{
	struct buf *x = &a->frames[some_frame(s, a)], *y = &a->frames[some_frame(s, a)];
	uint32_t number;

	if (a->type != WIRE_CHUNKS || payload_size(x) < 4 || payload_size(y) < 4)
		return false;
	number = get_le32(x->data + WIRE_HEADER_SIZE);
	put_le32(x->data + WIRE_HEADER_SIZE, get_le32(y->data + WIRE_HEADER_SIZE));
	put_le32(y->data + WIRE_HEADER_SIZE, number);
	return false;
}

/* One frame's header in front of another one's payload. */
static bool splice_headers(struct scene *s, struct answer *a)
{
	struct buf *x = &a->frames[some_frame(s, a)], *y = &a->frames[some_frame(s, a)];
	uint8_t header[WIRE_HEADER_SIZE];

	memcpy(header, x->data, sizeof(header));
	memcpy(x->data, y->data, sizeof(header));
	memcpy(y->data, header, sizeof(header));
	return true;
}

/* What was said before: instead of this, or in front of it; as it was, or under the new id. */
static bool repeat_earlier(struct scene *s, struct answer *a)
{
	size_t k = some_frame(s, a);
	bool in_front = random_one_in(&s->random, 2) && a->n < HOST_FRAMES;
	struct buf *f;

	if (s->earlier.size == 0)
		return false;
	if (in_front)
		swap_frames(a, k, a->n++);
	f = &a->frames[k];
	f->size = 0;
	buf_put(f, s->earlier.data, s->earlier.size);
	if (random_one_in(&s->random, 2))
		put_le64(f->data + 8, a->id);
	return true;
}

static bool make_noise(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];
	size_t n = 1 + random_below(&s->random, f->size < 32 ? f->size : 32);

	random_fill(&s->random, f->data + random_below(&s->random, f->size - n + 1), n);
	return true;
}

static bool zero_payload(struct scene *s, struct answer *a)
{
	struct buf *f = &a->frames[some_frame(s, a)];
	size_t at = payload_size(f) > 4 ? 4 : 0;

	memset(f->data + WIRE_HEADER_SIZE + at, 0, payload_size(f) - at);
	return false;
}

const struct lie frame_lies[] = {
	{"frames shuffled", shuffle},
	{"a frame twice", say_twice},
	{"a frame dropped", drop},
	{"a frame cut", cut},
	{"the connection ends", hang_up},
	{"a payload of another size", resize},
	{"a size that is not so", lie_about_size},
	{"type or status", change_type_or_status},
	{"an id changed", change_id},
	{"a field changed", change_field},
	{"numbers of two chunks swapped", swap_numbers},
	{"headers spliced", splice_headers},
	{"an earlier frame again", repeat_earlier},
	{"noise in a frame", make_noise},
	{"a payload of zeros", zero_payload},
};
const size_t n_frame_lies = sizeof(frame_lies) / sizeof(frame_lies[0]);

static void remember(struct scene *s, const struct answer *a)
{
	const struct buf *f = &a->frames[s->n_answers % a->n];

	if (f->size > 65536)
		return;
	s->earlier.size = 0;
	buf_put(&s->earlier, f->data, f->size);
}

void scene_liar(void *arg, struct answer *a)
{
	struct scene *s = arg;
	unsigned int serial = s->n_answers++;

	if (a->type == WIRE_HELLO && ++s->n_hellos > HONEST_AFTER) {
		store_reset(&s->store, &s->cast->now.sealed);
		s->n_lies = 0;
	}
	/* the last lie of an answer is one that ends it: a frame may be shorter than its header then */
	for (size_t k = 0; k < s->n_lies && a->n > 0 && !a->hang_up; k++)
		if (s->lies[k].when == serial && s->lies[k].how->tell(s, a))
			a->hang_up = true;
	if (a->n > 0 && !a->hang_up)
		remember(s, a);
}
