/* SPDX-License-Identifier: Apache-2.0
 * What lies between guest and host: it sees whole frames, knows the wire, and does one wrong thing to some of
 * them. One function for each fault. */
#include "network.h"
#include "proto/base/bytes.h"
#include "proto/wire/wire.h"

#include <errno.h>
#include <string.h>

#define HEADER WIRE_HEADER_SIZE

/* A frame on its way, and when it would arrive. `f` is a copy that is the fault's to change. */
struct passing {
	struct link *l;
	int lane;
	uint8_t *f;
	size_t n;
	int64_t at;
};

static uint32_t below(size_t n)
{
	return dice_below(OF_LINK, (uint32_t)n);
}

static bool is_chunk(const uint8_t *frame, size_t n)
{
	return get_le16(frame + 4) == WIRE_CHUNKS && get_le16(frame + 6) == WIRE_OK && n > HEADER + 4;
}

static struct parcel *pass(const struct passing *p, int64_t at)
{
	return parcel_send(p->l, p->lane, p->f, p->n, at);
}

static void end_both(struct link *l, int64_t at, int error)
{
	lane_end(l, TO_HOST, at, error);
	lane_end(l, TO_GUEST, at, error);
}

static void cut(struct passing *p)
{
	int64_t at = lane_final_time(&p->l->lanes[p->lane]);

	(void)parcel_send(p->l, p->lane, p->f, below(p->n), at);
	end_both(p->l, at, 0);
}

static void reset(struct passing *p)
{
	end_both(p->l, sim_now(), ECONNRESET);
}

static void half_close(struct passing *p)
{
	(void)pass(p, p->at);
	lane_end(p->l, p->lane, p->at, 0);
}

static void duplicate(struct passing *p)
{
	(void)pass(p, p->at);
	(void)pass(p, p->at);
}

static void reorder(struct passing *p)
{
	(void)pass(p, p->at + dice_range(OF_LINK, 0, 50 * MS));
}

static void slow(struct passing *p)
{
	struct lane *a = &p->l->lanes[p->lane];

	a->last_at = p->at + dice_range(OF_LINK, 0, SECOND);
	(void)pass(p, a->last_at);
}

/* The same answer as a failure. */
static void send_status(struct passing *p, enum wire_status status)
{
	static const char words[] = "made up";
	uint8_t to[HEADER + 4 + sizeof(words) - 1];
	bool has_number = is_chunk(p->f, p->n) || (get_le16(p->f + 6) != WIRE_OK && p->n >= HEADER + 4);

	memcpy(to, p->f, HEADER);
	put_le32(to, sizeof(to) - HEADER);
	put_le16(to + 6, (uint16_t)status);
	put_le32(to + HEADER, has_number ? get_le32(p->f + HEADER) : 0);
	memcpy(to + HEADER + 4, words, sizeof(words) - 1);
	(void)parcel_send(p->l, p->lane, to, sizeof(to), p->at);
}

static void status_passing(struct passing *p)
{
	static const enum wire_status passing[] = {WIRE_BUSY, WIRE_UNAVAILABLE, WIRE_INTERNAL};

	send_status(p, passing[below(3)]);
}

static void status_final(struct passing *p)
{
	static const enum wire_status final[] = {WIRE_NOT_FOUND, WIRE_DENIED, WIRE_INVALID, WIRE_UNSUPPORTED};

	send_status(p, final[below(4)]);
}

static void corrupt(struct passing *p)
{
	p->f[below(p->n)] ^= (uint8_t)(1u << below(8));
	(void)pass(p, p->at);
}

static void drop(struct passing *p)
{
	(void)p;
}

static void late(struct passing *p)
{
	(void)pass(p, p->at + dice_range(OF_LINK, 0, 2 * plan.timeout_ms * MS));
}

static void stall(struct passing *p)
{
	struct parcel *x = pass(p, p->at);

	if (!x)
		return;
	x->split = below(p->n);
	x->rest_at = p->at + dice_range(OF_LINK, SECOND, 60 * SECOND);
	p->l->lanes[p->lane].last_at = x->rest_at;
}

static void other_id(struct passing *p)
{
	uint64_t id = get_le64(p->f + 8);

	put_le64(p->f + 8, below(2) ? id + 1 : below(2) ? id - 1 : dice(OF_LINK));
	(void)pass(p, p->at);
}

static void other_type(struct passing *p)
{
	put_le16(p->f + 4, (uint16_t)below(6));
	(void)pass(p, p->at);
}

static void size_lie(struct passing *p)
{
	static const uint32_t sizes[] = {
		0, 1, 0x7fffffff, 0xffffffff, WIRE_MAX_PAYLOAD, WIRE_MAX_PAYLOAD + 1};
	uint32_t k = below(8);

	put_le32(p->f, k < 6 ? sizes[k] : (uint32_t)(p->n - HEADER) + (k == 6 ? 1u : (uint32_t)-1));
	(void)pass(p, p->at);
}

static void garbage(struct passing *p)
{
	uint8_t noise[64];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)dice(OF_LINK);
	(void)parcel_send(p->l, p->lane, noise, 1 + below(sizeof(noise)), p->at);
	(void)pass(p, p->at);
}

/* Another chunk's bytes under this number, or these under another number. */
static void swap(struct passing *p)
{
	struct parcel *last = p->l->last_chunk;

	if (last && below(2) == 0) {
		memcpy(last->data + 8, p->f + 8, 8);
		memcpy(last->data + HEADER, p->f + HEADER, 4);
		(void)parcel_send(p->l, p->lane, last->data, last->n, p->at);
		return;
	}
	put_le32(p->f + HEADER, get_le32(p->f + HEADER) + (below(2) ? 1 : (uint32_t)-1));
	(void)pass(p, p->at);
}

static void unasked(struct passing *p)
{
	(void)pass(p, p->at);
	put_le64(p->f + 8, get_le64(p->f + 8) + 1000);
	(void)pass(p, p->at);
}

static void shorten(struct passing *p)
{
	p->n -= below(p->n - HEADER + 1);
	put_le32(p->f, (uint32_t)(p->n - HEADER));
	(void)pass(p, p->at);
}

static void other_version(struct passing *p)
{
	if (p->n >= HEADER + 12)
		put_le32(p->f + HEADER + 8, 2);
	(void)pass(p, p->at);
}

/* OPEN: the answer is about another image, or the request is for one. */
static void other_image(struct passing *p)
{
	const struct sim_image *x = plan.other;
	size_t manifest = strlen(x->sealed.manifest), size = 8 + manifest + DESCRIPTOR_SIZE;
	char hex[DIGEST_HEX_SIZE];
	uint8_t *made;

	if (p->lane == TO_HOST) {
		uint8_t *text = memmem(p->f + HEADER, p->n - HEADER, "sha256:", 7);

		if (text && (size_t)(p->f + p->n - text) >= 7 + 64)
			memcpy(text + 7, digest_hex(&x->manifest, hex), 64);
	} else if (get_le16(p->f + 6) == WIRE_OK && p->n > HEADER + 8) {
		made = own_alloc(HEADER + size);
		memcpy(made, p->f, HEADER + 4);
		put_le32(made, (uint32_t)size);
		put_le32(made + HEADER + 4, (uint32_t)manifest);
		memcpy(made + HEADER + 8, x->sealed.manifest, manifest);
		memcpy(made + HEADER + 8 + manifest, x->sealed.descriptor, DESCRIPTOR_SIZE);
		(void)parcel_send(p->l, p->lane, made, HEADER + size, p->at);
		own_free(made);
		return;
	}
	(void)pass(p, p->at);
}

/* An older answer as well, or in the place of this one; perhaps as one to this request, perhaps not as it
 * was.
 */
static void replay(struct passing *p)
{
	struct parcel *last = p->l->last_chunk;

	if (last && below(2))
		memcpy(last->data + 8, p->f + 8, 8);
	if (last && below(2))
		last->data[HEADER + 4 + below(last->n - HEADER - 4)] ^= 1;
	if (last)
		(void)parcel_send(p->l, p->lane, last->data, last->n, p->at);
	if (!last || below(2))
		(void)pass(p, p->at);
}

static const struct {
	const char *name;
	void (*act)(struct passing *p);
} faults[N_FAULTS] = {
	[CUT] = {"fault: cut", cut},
	[RESET] = {"fault: reset", reset},
	[HALF_CLOSE] = {"fault: half-close", half_close},
	[DUPLICATE] = {"fault: duplicate", duplicate},
	[REORDER] = {"fault: reorder", reorder},
	[SLOW] = {"fault: slow", slow},
	[STATUS_PASSING] = {"fault: passing status", status_passing},
	[CORRUPT] = {"fault: corrupt", corrupt},
	[DROP] = {"fault: drop", drop},
	[LATE] = {"fault: late", late},
	[STALL] = {"fault: stall", stall},
	[STATUS_FINAL] = {"fault: final status", status_final},
	[OTHER_ID] = {"fault: other id", other_id},
	[OTHER_TYPE] = {"fault: other type", other_type},
	[SIZE_LIE] = {"fault: size lie", size_lie},
	[GARBAGE] = {"fault: garbage", garbage},
	[SWAP] = {"fault: swap", swap},
	[UNASKED] = {"fault: unasked", unasked},
	[SHORTEN] = {"fault: shorten", shorten},
	[OTHER_VERSION] = {"fault: other version", other_version},
	[OTHER_IMAGE] = {"fault: other image", other_image},
	[REPLAY] = {"fault: replay", replay},
};

/* How many times as likely as planned a fault is for this frame: some make no sense for most frames, and are
 * much more likely where they do. */
static uint32_t weight(enum fault k, int lane, const uint8_t *frame, size_t n)
{
	bool to_guest = lane == TO_GUEST;

	if (k == OTHER_VERSION)
		return get_le16(frame + 4) == WIRE_HELLO ? 20 : 0;
	if (k == OTHER_IMAGE)
		return get_le16(frame + 4) == WIRE_OPEN ? 20 : 0;
	if (k == CORRUPT && get_le16(frame + 4) == WIRE_INDEX)
		return 10;
	if (k == STATUS_PASSING || k == STATUS_FINAL || k == UNASKED)
		return to_guest;
	if (k == SWAP || k == REPLAY)
		return to_guest && is_chunk(frame, n);
	return 1;
}

/* At most one for a frame; N_FAULTS: none. Those that can end a connection are not without number, so that
 * asking again helps in the end. */
static enum fault draw(int lane, const uint8_t *frame, size_t n)
{
	const struct link_faults *f = lane == TO_HOST ? &plan.requests : &plan.answers;
	uint32_t x, sum = 0;

	if (plan.healed)
		return N_FAULTS;
	x = dice_below(OF_LINK, 1000);
	for (enum fault k = 0; k < N_FAULTS; k++) {
		bool ends = k != REORDER && k != SLOW;

		sum += f->chance[k] ? f->chance[k] * weight(k, lane, frame, n) : 0;
		if (x >= sum)
			continue;
		if (ends && plan.budget == 0)
			return N_FAULTS;
		if (ends)
			plan.budget--;
		totals.faults++;
		return k;
	}
	return N_FAULTS;
}

static void remember_chunk(struct link *l, const uint8_t *frame, size_t n)
{
	own_free(l->last_chunk);
	l->last_chunk = own_alloc(sizeof(struct parcel) + n);
	*l->last_chunk = (struct parcel){.n = n};
	memcpy(l->last_chunk->data, frame, n);
}

/* What the host itself says of a chunk is right, whatever the registry and the disk did to it. Only where a
 * request was not changed on its way it is known which image it is about. */
static void check_honest(const uint8_t *frame, size_t n)
{
	const struct sealed *x = &plan.image->sealed;
	uint32_t number = get_le32(frame + HEADER), size = (uint32_t)(n - HEADER - 4);
	const uint8_t *entry = x->blobs[x->n_blobs - 1].data + (size_t)number * 64;

	sim_check(number < x->n_chunks && get_le32(entry + 40) == size &&
			  memcmp(x->blobs[get_le32(entry + 44)].data + get_le64(entry + 32),
				 frame + HEADER + 4, size) == 0,
		  "the host gives wrong bytes as chunk %u", number);
}

void meddle(struct link *l, int from, const uint8_t *frame, size_t n)
{
	enum fault fault = draw(from, frame, n);
	int64_t at = lane_next_time(&l->lanes[from]);

	if (plan.temper != HOSTILE && from == TO_GUEST && is_chunk(frame, n))
		check_honest(frame, n);
	if (fault == N_FAULTS) {
		(void)parcel_send(l, from, frame, n, at);
	} else {
		struct passing p = {l, from, own_alloc(n), n, at};

		trace(faults[fault].name, l->number * 2 + from, (int64_t)n);
		memcpy(p.f, frame, n);
		faults[fault].act(&p);
		own_free(p.f);
	}
	if (from == TO_GUEST && is_chunk(frame, n))
		remember_chunk(l, frame, n);
}
