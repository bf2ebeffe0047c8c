/* SPDX-License-Identifier: Apache-2.0
 * The allocators. They forward to libc's own under its second name, or to the sanitizer's. */
#include "inject.h"

#include <errno.h>

#ifdef INJECT_SANITIZED
#define next(name) __interceptor_##name

/* A sanitizer asks for a new thread's stack before the thread runs, and ends the process when there is no
 * memory for the answer. */
static _Thread_local bool sanitizer_asks;

extern void *dlsym(void *handle, const char *name);

INJECT_EXPORT int pthread_getattr_np(unsigned long thread, void *attributes);
int pthread_getattr_np(unsigned long thread, void *attributes)
{
	static int (*_Atomic real)(unsigned long thread, void *attributes);
	int r;

	if (!real)
		real = (__extension__(int (*)(unsigned long, void *))
				dlsym((void *)-1l, "pthread_getattr_np"));
	sanitizer_asks = true;
	r = real(thread, attributes);
	sanitizer_asks = false;
	return r;
}

/* What the dynamic linker allocates through us and keeps where no leak checker looks. */
INJECT_EXPORT const char *__lsan_default_suppressions(void);
INJECT_EXPORT const char *__lsan_default_options(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:_dl_\nleak:dl_open_worker\n";
}
const char *__lsan_default_options(void)
{
	return "print_suppressions=0";
}
#else
#define next(name) __libc_##name
enum { sanitizer_asks = false };
#endif

void *next(malloc)(size_t n);
void *next(calloc)(size_t n, size_t size);
void *next(realloc)(void *p, size_t n);
void *next(memalign)(size_t alignment, size_t n);
void next(free)(void *p);

INJECT_EXPORT void *malloc(size_t n);
INJECT_EXPORT void *calloc(size_t n, size_t size);
INJECT_EXPORT void *realloc(void *p, size_t n);
INJECT_EXPORT void *reallocarray(void *p, size_t n, size_t size);
INJECT_EXPORT void *memalign(size_t alignment, size_t n);
INJECT_EXPORT void *aligned_alloc(size_t alignment, size_t n);
INJECT_EXPORT int posix_memalign(void **out, size_t alignment, size_t n);
INJECT_EXPORT void free(void *p);

static bool fails(void)
{
	return !sanitizer_asks && inject_now(CALL_MEMORY, 0);
}

static void *counted(void *p)
{
	if (p)
		atomic_fetch_add_explicit(&inject_live, 1, memory_order_relaxed);
	return p;
}

void *malloc(size_t n)
{
	return fails() ? NULL : counted(next(malloc)(n));
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : counted(next(calloc)(n, size));
}

void free(void *p)
{
	if (p)
		atomic_fetch_sub_explicit(&inject_live, 1, memory_order_relaxed);
	next(free)(p);
}

void *realloc(void *p, size_t n)
{
	if (!p)
		return malloc(n);
	if (n == 0) {
		free(p);
		return NULL;
	}
	return fails() ? NULL : next(realloc)(p, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(n, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, all);
}

void *memalign(size_t alignment, size_t n)
{
	return fails() ? NULL : counted(next(memalign)(alignment, n));
}

void *aligned_alloc(size_t alignment, size_t n)
{
	return memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n)
{
	void *p = memalign(alignment, n);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}
