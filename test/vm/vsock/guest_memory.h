/* SPDX-License-Identifier: Apache-2.0
 * The guest's memory as a vhost-user frontend shares it: up to eight regions, each a file descriptor. Every
 * address that comes from a ring or a message goes through guest_memory_at(). One thread. */
#ifndef COCOON_TEST_VM_GUEST_MEMORY_H
#define COCOON_TEST_VM_GUEST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_REGIONS                                                                                 \
	8u /* vhost-user.rst, "Memory region description": without CONFIGURE_MEM_SLOTS                       \
	    */

/* The two address spaces that the frontend speaks of. */
enum guest_address { GUEST_PHYSICAL, GUEST_FRONTEND };

struct guest_region {
	uint64_t physical, size, frontend, file_offset;
	void *map; /* of size + file_offset bytes */
};

struct guest_memory {
	size_t n;
	struct guest_region regions[GUEST_MEMORY_REGIONS];
};

/* Map n regions, instead of what was there. The descriptors stay the caller's. 0 or a negative errno. */
int guest_memory_set(struct guest_memory *m, const struct guest_region *regions, const int *fds, size_t n);
void guest_memory_clear(struct guest_memory *m);

/* `size` bytes at `address`, or NULL when they are not all in one region. */
void *guest_memory_at(const struct guest_memory *m, enum guest_address space, uint64_t address,
		      uint64_t size);

#endif
