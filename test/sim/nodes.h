/* SPDX-License-Identifier: Apache-2.0
 * What nodes.c and disk.c share: files and folders by number. */
#ifndef COCOON_TEST_SIM_NODES_H
#define COCOON_TEST_SIM_NODES_H

#include "sim.h"

#define MAX_NODES 8192u
#define NAME_ROOM 100u
#define ROOT 1u

struct node {
	char name[NAME_ROOM];
	uint32_t parent;	      /* 0: it has no name any more */
	uint32_t next;		      /* of its slot */
	uint32_t child, older, newer; /* of a folder: the newest in it; of what lies in one: its neighbours */
	unsigned int opens;
	bool used, folder;
	uint8_t *data;
	size_t size, room;
	int64_t changed;
};

extern struct node nodes[MAX_NODES];

uint32_t node_find(uint32_t folder, const char *name);		      /* 0: none */
uint32_t node_add(uint32_t folder, const char *name, bool is_folder); /* 0: the disk is full */
void node_link(uint32_t n, uint32_t folder, const char *name);
void node_unlink(uint32_t n); /* it goes when nobody has it open */
void node_close(uint32_t n);

#endif
