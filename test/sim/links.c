/* SPDX-License-Identifier: Apache-2.0
 * Connections between guest and host: lanes of parcels that arrive at their times. A lane may end, be reset,
 * or lose all that is put on it. */
#include "network.h"

#include <errno.h>
#include <string.h>

static struct link *links;
static int last_number;
static bool dark;

bool network_is_dark(void)
{
	return dark;
}

struct link *link_new(int guest_fd, int64_t made_at)
{
	struct link *l = own_alloc(sizeof(*l));

	*l = (struct link){.next = links, .number = ++last_number, .fds = {guest_fd, 0}, .made_at = made_at};
	l->lanes[0].silent = l->lanes[1].silent = dark;
	links = l;
	return l;
}

static void free_parcels(struct parcel **list)
{
	while (*list) {
		struct parcel *p = *list;

		*list = p->next;
		own_free(p);
	}
}

static void lane_drop(struct lane *a)
{
	free_parcels(&a->waiting);
	free_parcels(&a->current);
	a->n_partial = 0;
	a->pending = 0;
}

void link_wake(struct link *l)
{
	for (int end = 0; end < 2; end++)
		if (l->fds[end])
			sim_wake_fd(l->fds[end]);
}

int64_t lane_next_time(struct lane *a)
{
	int64_t at = sim_now() + plan.latency + dice_range(OF_LINK, 0, plan.jitter);

	if (at < a->last_at)
		at = a->last_at;
	a->last_at = at;
	return at;
}

int64_t lane_final_time(struct lane *a)
{
	int64_t at = lane_next_time(a);

	for (const struct parcel *p = a->waiting; p; p = p->next)
		if (p->rest_at > at)
			at = p->rest_at;
	a->last_at = at;
	return at;
}

struct parcel *parcel_send(struct link *l, int lane, const void *p, size_t n, int64_t at)
{
	struct lane *a = &l->lanes[lane];
	struct parcel *x, **place = &a->waiting;

	if (a->closed || a->deaf || a->silent || n == 0)
		return NULL;
	x = own_alloc(sizeof(*x) + n);
	*x = (struct parcel){.at = at, .rest_at = at, .n = n, .split = n};
	memcpy(x->data, p, n);
	while (*place && (*place)->at <= at)
		place = &(*place)->next;
	x->next = *place;
	*place = x;
	a->pending += n;
	link_wake(l);
	return x;
}

void lane_end(struct link *l, int lane, int64_t at, int error)
{
	struct lane *a = &l->lanes[lane];

	if (a->closed && !error)
		return;
	if (error)
		lane_drop(a);
	a->closed = true;
	a->error = error;
	a->end_at = at;
	link_wake(l);
}

ssize_t lane_look(struct lane *a, int64_t *next)
{
	*next = -1;
	if (!a->current && a->waiting && a->waiting->at <= sim_now()) {
		a->current = a->waiting;
		a->waiting = a->current->next;
		a->current->next = NULL;
	}
	if (a->current) {
		size_t there = a->current->rest_at <= sim_now() ? a->current->n : a->current->split;

		if (there > a->current->taken)
			return (ssize_t)(there - a->current->taken);
		*next = a->current->rest_at;
	} else if (a->waiting) {
		*next = a->waiting->at;
	} else if (a->closed) {
		if (a->end_at <= sim_now())
			return -1;
		*next = a->end_at;
	}
	return 0;
}

void lane_take(struct lane *a, void *to, size_t n)
{
	struct parcel *p = a->current;

	memcpy(to, p->data + p->taken, n);
	p->taken += n;
	a->pending -= n;
	if (p->taken == p->n)
		free_parcels(&a->current);
}

void link_free(struct link *l)
{
	struct link **at = &links;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	for (int i = 0; i < 2; i++) {
		lane_drop(&l->lanes[i]);
		own_free(l->lanes[i].partial);
	}
	own_free(l->last_chunk);
	own_free(l);
}

void link_leave(struct link *l, int end)
{
	struct lane *out = &l->lanes[end], *in = &l->lanes[1 - end];
	bool unread = in->pending > 0;

	if (out->n_partial > 0) {
		(void)parcel_send(l, end, out->partial, out->n_partial, lane_final_time(out));
		out->n_partial = 0;
	}
	if (!out->silent && !out->closed)
		lane_end(l, end, lane_final_time(out), unread && dice_chance(OF_LINK, 500) ? ECONNRESET : 0);
	in->deaf = true;
	lane_drop(in);
	link_wake(l);
}

void link_write(struct link *l, int end, const uint8_t *p, size_t n)
{
	struct lane *a = &l->lanes[end];

	if (a->n_partial + n > a->room) {
		a->room = (a->n_partial + n) * 2;
		a->partial = own_grow(a->partial, a->room);
	}
	memcpy(a->partial + a->n_partial, p, n);
	a->n_partial += n;
	while (a->n_partial >= 16) {
		size_t size = 16 + ((size_t)a->partial[0] | (size_t)a->partial[1] << 8 |
				    (size_t)a->partial[2] << 16 | (size_t)a->partial[3] << 24);

		if (a->n_partial < size)
			break;
		totals.frames++;
		meddle(l, end, a->partial, size);
		if (a->n_partial < size)
			break; /* the lane was dropped */
		memmove(a->partial, a->partial + size, a->n_partial - size);
		a->n_partial -= size;
	}
}

void network_break(bool reset)
{
	for (struct link *l = links; l; l = l->next)
		for (int lane = 0; lane < 2; lane++)
			lane_end(l, lane, sim_now(), reset ? ECONNRESET : 0);
}

void network_blackhole(bool on)
{
	dark = on;
	for (struct link *l = links; l; l = l->next)
		for (int lane = 0; lane < 2; lane++) {
			if (!on && l->lanes[lane].silent) {
				l->made_at = sim_now();
				lane_end(l, lane, sim_now(), ECONNRESET);
			}
			l->lanes[lane].silent |= on;
		}
}

void network_heal(void)
{
	network_blackhole(false);
	for (struct link *l = links; l; l = l->next) {
		for (int lane = 0; lane < 2; lane++) {
			struct lane *a = &l->lanes[lane];

			for (struct parcel *p = a->waiting; p; p = p->next)
				p->at = p->rest_at = sim_now();
			if (a->current)
				a->current->rest_at = sim_now();
			a->last_at = sim_now();
		}
		link_wake(l);
	}
}

void network_reset(void)
{
	while (links)
		link_free(links);
	last_number = 0;
	dark = false;
}
