/* SPDX-License-Identifier: Apache-2.0
 * The tree of the host's disk, in memory: found by a hash of folder and name. It outlives the host's process
 * and may come back damaged. */
#include "nodes.h"

#include <stdio.h>
#include <string.h>

#define N_SLOTS 16384u

struct node nodes[MAX_NODES];
static uint32_t slots[N_SLOTS], n_nodes;

static uint32_t *slot_of(uint32_t parent, const char *name)
{
	uint32_t h = parent * 2654435761u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return &slots[(h ^ h >> 15) % N_SLOTS];
}

uint32_t node_find(uint32_t parent, const char *name)
{
	uint32_t n = *slot_of(parent, name);

	while (n && (nodes[n].parent != parent || strcmp(nodes[n].name, name) != 0))
		n = nodes[n].next;
	return n;
}

void node_link(uint32_t n, uint32_t parent, const char *name)
{
	uint32_t *slot = slot_of(parent, name);

	(void)snprintf(nodes[n].name, NAME_ROOM, "%s", name);
	nodes[n].parent = parent;
	nodes[n].next = *slot;
	*slot = n;
	nodes[n].newer = 0;
	nodes[n].older = nodes[parent].child;
	if (nodes[n].older)
		nodes[nodes[n].older].newer = n;
	nodes[parent].child = n;
}

static void forget_if_unused(uint32_t n)
{
	if (nodes[n].parent != 0 || nodes[n].opens > 0)
		return;
	own_free(nodes[n].data);
	nodes[n] = (struct node){0};
}

void node_unlink(uint32_t n)
{
	uint32_t *at = slot_of(nodes[n].parent, nodes[n].name);

	while (*at != n)
		at = &nodes[*at].next;
	*at = nodes[n].next;
	*(nodes[n].newer ? &nodes[nodes[n].newer].older : &nodes[nodes[n].parent].child) = nodes[n].older;
	if (nodes[n].older)
		nodes[nodes[n].older].newer = nodes[n].newer;
	nodes[n].parent = 0;
	forget_if_unused(n);
}

uint32_t node_add(uint32_t parent, const char *name, bool folder)
{
	uint32_t n = ROOT + 1;

	while (n < n_nodes && nodes[n].used)
		n++;
	if (n == MAX_NODES)
		return 0;
	if (n >= n_nodes)
		n_nodes = n + 1;
	nodes[n] = (struct node){.used = true, .folder = folder, .changed = sim_now()};
	node_link(n, parent, name);
	return n;
}

void disk_reset(void)
{
	for (uint32_t n = ROOT; n < n_nodes; n++) {
		own_free(nodes[n].data);
		nodes[n] = (struct node){0};
	}
	memset(slots, 0, sizeof(slots));
	n_nodes = ROOT + 1;
	nodes[ROOT] = (struct node){.used = true, .folder = true, .parent = ROOT};
}

void node_close(uint32_t n)
{
	nodes[n].opens--;
	forget_if_unused(n);
}

/* Chunks are the files with 64 letters. */
void disk_damage(uint32_t drop, uint32_t cut, uint32_t spoil)
{
	for (uint32_t n = ROOT + 1; n < n_nodes; n++) {
		struct node *x = &nodes[n];

		if (!x->used || x->folder || x->size == 0 || strlen(x->name) != 64)
			continue;
		if (dice_chance(OF_DISK, drop))
			node_unlink(n);
		else if (dice_chance(OF_DISK, cut))
			x->size = dice_below(OF_DISK, (uint32_t)x->size);
		else if (dice_chance(OF_DISK, spoil))
			x->data[dice_below(OF_DISK, (uint32_t)x->size)] ^=
				(uint8_t)(1u << dice_below(OF_DISK, 8));
	}
}
