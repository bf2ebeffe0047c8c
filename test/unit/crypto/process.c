/* SPDX-License-Identifier: Apache-2.0
 * A process that holds keys leaves no core file and is not traced, and OpenSSL leaves nothing in the memory
 * that it gives back. What the kernel and OpenSSL say is overridden here by the linker's --wrap. */
#include "crypto/process.h"
#include "proto/base/io.h"
#include "test/unit/fault.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

Test(process, leaves_no_core_and_goes_on_working)
{
	struct rlimit core;
	cleanup_buf struct buf filter;
	char *later;
	int r = process_hide_memory();

	/* libraries of criterion's may have used OpenSSL before any test */
	cr_assert(r == 0 || r == -EBUSY);
	cr_assert_eq(getrlimit(RLIMIT_CORE, &core), 0);
	cr_assert_eq(core.rlim_cur, 0);
	cr_assert_eq(core.rlim_max, 0);
	cr_assert_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	buf_init(&filter, 64);
	cr_assert_eq(file_read(AT_FDCWD, "/proc/self/coredump_filter", &filter, NULL), 0);
	cr_assert_eq(filter.size, strlen("00000000\n"));
	cr_assert_arr_eq(filter.data, "00000000\n", filter.size);
	/* locked memory must not be what makes allocations fail */
	later = malloc(64 << 20);
	cr_assert_not_null(later);
	free(later);
}

/* The errno with which the next of these calls fails; 0: it goes through. */
static struct {
	int open, rlimit[RLIM_NLIMITS], prctl;
	bool context; /* OpenSSL's */
} fails;

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	cr_assert_not(flags & O_CREAT);
	if (fails.open == 0)
		return __real_open64(path, flags);
	errno = fails.open;
	return -1;
}

int __real_setrlimit64(__rlimit_resource_t what, const struct rlimit64 *to);
int __wrap_setrlimit64(__rlimit_resource_t what, const struct rlimit64 *to);
int __wrap_setrlimit64(__rlimit_resource_t what, const struct rlimit64 *to)
{
	/* locked memory may be limited where tests run */
	if (fails.rlimit[what] == 0)
		return what == RLIMIT_MEMLOCK ? 0 : __real_setrlimit64(what, to);
	errno = fails.rlimit[what];
	return -1;
}

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
	unsigned long argument;
	va_list args;

	va_start(args, option);
	argument = va_arg(args, unsigned long);
	va_end(args);
	if (fails.prctl == 0)
		return __real_prctl(option, argument, 0, 0, 0);
	errno = fails.prctl;
	return -1;
}

static int locked;

int __wrap_mlockall(int flags);
int __wrap_mlockall(int flags)
{
	locked = flags;
	return 0;
}

OSSL_LIB_CTX *__real_OSSL_LIB_CTX_get0_global_default(void);
OSSL_LIB_CTX *__wrap_OSSL_LIB_CTX_get0_global_default(void);
OSSL_LIB_CTX *__wrap_OSSL_LIB_CTX_get0_global_default(void)
{
	return fails.context ? NULL : __real_OSSL_LIB_CTX_get0_global_default();
}

/* What OpenSSL was given to allocate with, and its answer: 1 when it was taken. */
static CRYPTO_malloc_fn ssl_malloc;
static CRYPTO_realloc_fn ssl_realloc;
static CRYPTO_free_fn ssl_free;
static int ssl_answer = 1;

int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f);
int __wrap_CRYPTO_set_mem_functions(CRYPTO_malloc_fn m, CRYPTO_realloc_fn r, CRYPTO_free_fn f)
{
	ssl_malloc = m;
	ssl_realloc = r;
	ssl_free = f;
	return ssl_answer;
}

Test(process, says_what_cannot_be_turned_off)
{
	fails.open = EACCES;
	cr_assert_eq(process_hide_memory(), -EACCES);
	fails.open = ENOENT;
	cr_assert_eq(process_hide_memory(), 0, "a kernel without core files");
	fails.open = 0;
	fails.rlimit[RLIMIT_CORE] = EPERM;
	cr_assert_eq(process_hide_memory(), -EPERM);
	fails.rlimit[RLIMIT_CORE] = 0;
	fails.prctl = EINVAL;
	cr_assert_eq(process_hide_memory(), -EINVAL);
	fails.prctl = 0;
	fails.context = true;
	cr_assert_eq(process_hide_memory(), -ENOMEM);
	ssl_answer = 0;
	cr_assert_eq(process_hide_memory(), -EBUSY);
}

Test(process, locks_its_memory_where_it_may)
{
	fails.rlimit[RLIMIT_MEMLOCK] = EPERM;
	cr_assert_eq(process_hide_memory(), 0);
	cr_assert_eq(locked, 0);
	fails.rlimit[RLIMIT_MEMLOCK] = 0;
	cr_assert_eq(process_hide_memory(), 0);
	cr_assert_eq(locked, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/* While it is watched, memory that is freed must be zero. */
static const uint8_t *watched;
static size_t watched_size;
static bool freed, leaked;

void __real_free(void *p);
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	if (p && p == watched) {
		freed = true;
		for (size_t i = 0; i < watched_size; i++)
			leaked |= watched[i] != 0;
	}
	__real_free(p);
}

static void watch(const void *p, size_t n)
{
	watched = p;
	watched_size = n;
	freed = leaked = false;
}

static void *allocate(size_t n)
{
	void *p = ssl_malloc(n, "", 0);

	cr_assert_not_null(p);
	memset(p, 's', n);
	watch(p, n);
	return p;
}

static void take_over(void)
{
	cr_assert_eq(process_own_openssl(), 0);
}

TestSuite(openssls_memory, .init = take_over);

Test(openssls_memory, is_wiped_when_it_is_freed)
{
	ssl_free(allocate(100), "", 0);
	cr_assert(freed && !leaked);
	ssl_free(NULL, "", 0);
}

Test(openssls_memory, is_wiped_when_it_moves)
{
	static const size_t sizes[] = {1, 60, 100, 10000};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		char *p = ssl_realloc(allocate(100), sizes[k], "", 0);

		cr_assert(freed && !leaked);
		for (size_t i = 0; i < 100 && i < sizes[k]; i++)
			cr_assert_eq(p[i], 's');
		ssl_free(p, "", 0);
	}
	ssl_free(ssl_realloc(NULL, 10, "", 0), "", 0);
}

Test(openssls_memory, stays_where_it_is_when_there_is_no_other)
{
	char *p = allocate(100);

	fault_arm(1);
	cr_assert_null(ssl_realloc(p, 10000, "", 0));
	cr_assert(fault_fired() && !freed);
	cr_assert_eq(p[99], 's');
	fault_arm(1);
	cr_assert_null(ssl_malloc(10, "", 0));
	cr_assert(fault_fired());
	ssl_free(p, "", 0);
}
