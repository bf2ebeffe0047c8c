/* SPDX-License-Identifier: Apache-2.0
 * Memory of guest and host: every block knows whose it is, so that what is left can be counted, what a killed
 * host held can go, and the guest's allocations can fail. */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x6b636f6c62u
#define GONE 0x656e6f67u

struct block {
	uint64_t magic;
	size_t size;
	struct block *next, *prev;
	void *base; /* what the real allocator gave */
	enum side side;
};

_Static_assert(sizeof(struct block) % 16 == 0, "what follows is aligned");

void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);

static struct {
	struct block *first;
	size_t blocks, bytes, peak;
} sides[N_SIDES];
static uint32_t pressure;

void *own_alloc(size_t n)
{
	void *p = __real_malloc(n + 1);

	if (!p)
		abort();
	return p;
}

void *own_grow(void *p, size_t n)
{
	p = __real_realloc(p, n + 1);
	if (!p)
		abort();
	return p;
}

void own_free(void *p)
{
	__real_free(p);
}

void memory_pressure(uint32_t per_mille)
{
	pressure = per_mille;
}

bool memory_refuses(void)
{
	if (pressure == 0 || sim_side() != GUEST || !dice_chance(OF_MEMORY, pressure))
		return false;
	totals.faults++;
	trace("no memory", 0, 0);
	return true;
}

static void *block_new(size_t align, size_t n)
{
	enum side side = sim_side();
	struct block *b;
	uint8_t *base;
	size_t at;

	if (memory_refuses()) {
		errno = ENOMEM;
		return NULL;
	}
	base = __real_malloc(sizeof(*b) + align + n);
	if (!base)
		abort();
	at = (size_t)((uintptr_t)(base + sizeof(*b) + align - 1) & ~(uintptr_t)(align - 1)) -
	     (size_t)(uintptr_t)base;
	b = (struct block *)(void *)(base + at - sizeof(*b));
	*b = (struct block){.magic = MAGIC, .size = n, .next = sides[side].first, .base = base, .side = side};
	if (b->next)
		b->next->prev = b;
	sides[side].first = b;
	sides[side].blocks++;
	sides[side].bytes += n;
	if (sides[side].bytes > sides[side].peak)
		sides[side].peak = sides[side].bytes;
	return b + 1;
}

static struct block *block_of(void *p)
{
	struct block *b = (struct block *)p - 1;

	if (b->magic != MAGIC)
		sim_fail(b->magic == GONE ? "memory is freed twice" : "memory is freed that is no block");
	return b;
}

static void block_free(struct block *b)
{
	*(b->prev ? &b->prev->next : &sides[b->side].first) = b->next;
	if (b->next)
		b->next->prev = b->prev;
	sides[b->side].blocks--;
	sides[b->side].bytes -= b->size;
	b->magic = GONE;
	__real_free(b->base);
}

void memory_drop(enum side side)
{
	while (sides[side].first)
		block_free(sides[side].first);
}

void memory_reset(void)
{
	memory_drop(GUEST);
	memory_drop(HOST);
	sides[GUEST].peak = sides[HOST].peak = 0;
	pressure = 0;
}

size_t memory_blocks(enum side side)
{
	return sides[side].blocks;
}

size_t memory_bytes(enum side side)
{
	return sides[side].bytes;
}

size_t memory_peak(enum side side)
{
	return sides[side].peak;
}

void *__wrap_malloc(size_t n);
void *__wrap_malloc(size_t n)
{
	return block_new(16, n);
}

void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	size_t all;
	void *p;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	p = block_new(16, all);
	return p ? memset(p, 0, all) : NULL;
}

void __wrap_free(void *p);
void __wrap_free(void *p)
{
	if (p)
		block_free(block_of(p));
}

void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
	void *to = block_new(16, n);

	if (p && to) {
		struct block *b = block_of(p);

		memcpy(to, p, b->size < n ? b->size : n);
		block_free(b);
	}
	return to;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(p, all);
}

void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return block_new(align, n);
}

char *__wrap_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n)
{
	size_t length = strnlen(s, n);
	char *p = block_new(16, length + 1);

	if (p) {
		memcpy(p, s, length);
		p[length] = '\0';
	}
	return p;
}

char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s)
{
	return __wrap_strndup(s, strlen(s));
}

size_t __wrap_malloc_usable_size(void *p);
size_t __wrap_malloc_usable_size(void *p)
{
	return p ? block_of(p)->size : 0;
}
