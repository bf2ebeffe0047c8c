/* SPDX-License-Identifier: Apache-2.0
 * Bits flipped in the frames of a session, once each. A guest that finds the wire's rules broken drops the
 * connection and asks again on a new one; that it did so is told by the connections that the host counts. A
 * host whose frame lost its shape hangs up behind it, so that nobody waits for bytes that never come. */
#include "crypto/sha256.h"
#include "flip.h"
#include "guest.h"
#include "host.h"
#include "judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_SIZE 4u
#define WELCOME_SIZE 16u
#define WELCOME_MAX_OPEN 12u
#define CHUNKS_ASKED 4u /* of one request, where its frames' fields are flipped */

struct framed {
	struct bench *b;
	struct store store;
	struct host host;
	char path[300];
	struct image_options options;
	struct digest manifest; /* the image is asked for by it */
	/* Set while no request runs. */
	bool armed;
	enum wire_type type;
	uint32_t number; /* of the chunk, for CHUNKS */
	size_t at;	 /* in the frame */
	uint8_t mask;
	bool hang_up;
	bool hit;
};

static void strike(void *arg, struct answer *a)
{
	struct framed *f = arg;

	if (!f->armed || a->type != f->type)
		return;
	for (size_t k = 0; k < a->n; k++) {
		struct buf *frame = &a->frames[k];

		if (f->type == WIRE_CHUNKS && get_le32(frame->data + WIRE_HEADER_SIZE) != f->number)
			continue;
		if (f->at >= frame->size)
			continue;
		frame->data[f->at] ^= f->mask;
		a->hang_up = f->hang_up;
		f->armed = false;
		f->hit = true;
		return;
	}
}

static void arm(struct framed *f, enum wire_type type, uint32_t number, size_t at, unsigned int bit)
{
	f->type = type;
	f->number = number;
	f->at = at;
	f->mask = (uint8_t)(1u << bit);
	f->hang_up = at < WIRE_HEADER_SIZE;
	f->hit = false;
	f->armed = true;
}

static struct image *open_image(struct framed *f, int *r)
{
	struct source *source = guest_source(f->path);
	struct image *i = NULL;

	*r = image_open(&i, source, &f->options, NULL);
	if (*r < 0)
		source->ops->close(source);
	return i;
}

static struct image *must_open(struct framed *f)
{
	int r;
	struct image *i = open_image(f, &r);

	if (r < 0) {
		printf("the image does not open over the wire: %d\n", r);
		exit(1);
	}
	return i;
}

static void close_image(struct framed *f, struct image *i)
{
	f->armed = false;
	image_close(i);
	host_wait_quiet(&f->host);
}

static void record(struct framed *f, enum kind kind, uint64_t byte, unsigned int bit, int r,
		   unsigned int connections, const char *reason)
{
	struct outcome o = {.result = r, .delivered = f->hit, .reason = reason};

	o.asked_again = atomic_load(&f->host.connections) > connections;
	flip_record(f->b, kind, byte, bit, &o);
}

/* Where in these answers a bit says nothing. */
static const char *opening_reason(const struct framed *f, enum wire_type type, size_t at)
{
	size_t superblock = (size_t)chunk_table_size(f->b->specimen->sealed.n_chunks);

	if (at < WIRE_HEADER_SIZE)
		return NULL;
	at -= WIRE_HEADER_SIZE;
	if (type == WIRE_HELLO && at >= WELCOME_MAX_OPEN)
		return "HELLO: how many requests the host lets be open at once, 1 … 65536";
	if (type == WIRE_INDEX && at >= superblock && at < superblock + BLOCK_SIZE)
		return SUPERBLOCK_REASON;
	return NULL;
}

/* One bit of the answers that open an image. A block of the index that is refused is asked for again: it is
 * wrong every time. */
static void flip_opening(struct framed *f, enum kind kind, enum wire_type type, size_t at, unsigned int bit)
{
	unsigned int connections = atomic_load(&f->host.connections) + 1;
	const struct sealed *s = &f->b->specimen->sealed;
	struct image *i;
	int r;

	arm(f, type, 0, at, bit);
	if (type == WIRE_INDEX && at >= WIRE_HEADER_SIZE) {
		uint64_t byte = at - WIRE_HEADER_SIZE;
		uint8_t other = s->blobs[s->n_blobs - 1].data[byte] ^ f->mask;

		f->mask = 0; /* the store has it */
		store_write(&f->store, store_index(&f->store), byte, &other, 1);
	}
	i = open_image(f, &r);
	if (r == 0)
		r = judge_all(i, f->b->specimen);
	record(f, kind, at, bit, r, connections, opening_reason(f, type, at));
	close_image(f, i);
	store_reset(&f->store, s);
}

static void flip_answer(struct framed *f, enum kind kind, enum wire_type type, size_t size, size_t every_bit)
{
	for (size_t at = 0; at < size; at++) {
		if (!flip_is_mine(f->b, at))
			continue;
		if (at < every_bit || f->b->all)
			for (unsigned int bit = 0; bit < 8; bit++)
				flip_opening(f, kind, type, at, bit);
		else
			flip_opening(f, kind, type, at, (at * 5 + at / 8) % 8);
	}
}

/* Header and number of one chunk's frame, among others: each flip with a session of its own. */
static void flip_fields(struct framed *f, const struct place *p)
{
	uint64_t left = f->b->specimen->size - p->address;
	size_t n = left < CHUNKS_ASKED * BLOCK_SIZE ? (size_t)left : CHUNKS_ASKED * BLOCK_SIZE;

	for (size_t at = 0; at < WIRE_HEADER_SIZE + NUMBER_SIZE; at++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			unsigned int connections;
			struct image *i;
			int r;

			if (!flip_is_mine(f->b, at * 8 + bit))
				continue;
			i = must_open(f);
			connections = atomic_load(&f->host.connections);
			arm(f, WIRE_CHUNKS, p->number, at, bit);
			r = judge_read(i, f->b->specimen, p->address, n);
			record(f, FRAME_CHUNK, at, bit, r, connections, NULL);
			close_image(f, i);
		}
	}
}

/* The stored bytes in it: they end no session. */
static void flip_stored(struct framed *f, struct image *i, const struct place *p)
{
	const struct sealed *s = &f->b->specimen->sealed;
	size_t size = get_le32(s->blobs[s->n_blobs - 1].data + (size_t)p->number * 64 + 40);

	for (size_t at = 0; at < size; at++) {
		unsigned int first = f->b->all ? 0 : (at * 5 + at / 8) % 8, end = f->b->all ? 8 : first + 1;

		for (unsigned int bit = first; flip_is_mine(f->b, at) && bit < end; bit++) {
			unsigned int connections = atomic_load(&f->host.connections);
			int r;

			arm(f, WIRE_CHUNKS, p->number, WIRE_HEADER_SIZE + NUMBER_SIZE + at, bit);
			r = judge_read(i, f->b->specimen, p->address, BLOCK_SIZE);
			record(f, FRAME_CHUNK_BYTES, at, bit, r, connections, NULL);
		}
	}
}

void flip_frames(struct bench *b, const struct place *data, size_t n_data)
{
	static struct framed f;
	const struct sealed *s = &b->specimen->sealed;
	size_t index_size = (size_t)meta_offset_of(s->n_chunks), opened_size;
	struct image *i;

	f.b = b;
	f.options = flip_options(b->specimen);
	f.options.want_manifest = &f.manifest;
	if (sha256(&f.manifest, s->manifest, strlen(s->manifest)) < 0)
		exit(1);
	store_init(&f.store);
	store_reset(&f.store, s);
	(void)snprintf(f.path, sizeof(f.path), "%s/host", b->dir);
	host_start(&f.host, &f.store, f.path);
	f.host.liar = strike;
	f.host.arg = &f;
	opened_size = WIRE_HEADER_SIZE + 8 + f.store.manifest.size + DESCRIPTOR_SIZE;
	flip_answer(&f, FRAME_HELLO, WIRE_HELLO, WIRE_HEADER_SIZE + WELCOME_SIZE, SIZE_MAX);
	flip_answer(&f, FRAME_INDEX, WIRE_INDEX, WIRE_HEADER_SIZE + index_size, WIRE_HEADER_SIZE);
	flip_answer(&f, FRAME_OPEN, WIRE_OPEN, opened_size, SIZE_MAX);
	i = must_open(&f);
	for (size_t k = 0; k < n_data; k++)
		flip_stored(&f, i, &data[k]);
	close_image(&f, i);
	for (size_t k = 0; k < n_data; k++)
		flip_fields(&f, &data[k]);
	host_stop(&f.host);
	store_deinit(&f.store);
}
