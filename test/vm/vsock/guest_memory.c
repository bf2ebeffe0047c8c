/* SPDX-License-Identifier: Apache-2.0
 * Mapping what the frontend shares, and bounds. */
#include "guest_memory.h"

#include <errno.h>
#include <sys/mman.h>

void guest_memory_clear(struct guest_memory *m)
{
	for (size_t i = 0; i < m->n; i++)
		(void)munmap(m->regions[i].map, m->regions[i].size + m->regions[i].file_offset);
	m->n = 0;
}

int guest_memory_set(struct guest_memory *m, const struct guest_region *regions, const int *fds, size_t n)
{
	guest_memory_clear(m);
	if (n > GUEST_MEMORY_REGIONS)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		struct guest_region *r = &m->regions[i];
		uint64_t size;

		*r = regions[i];
		if (__builtin_add_overflow(r->size, r->file_offset, &size))
			return -EPROTO;
		r->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fds[i], 0);
		if (r->map == MAP_FAILED)
			return -errno;
		m->n = i + 1;
	}
	return 0;
}

void *guest_memory_at(const struct guest_memory *m, enum guest_address space, uint64_t address, uint64_t size)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->regions[i];
		uint64_t base = space == GUEST_PHYSICAL ? r->physical : r->frontend;

		if (address >= base && size <= r->size && address - base <= r->size - size)
			return (uint8_t *)r->map + r->file_offset + (address - base);
	}
	return NULL;
}
