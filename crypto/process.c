/* SPDX-License-Identifier: Apache-2.0
 * No core files, no tracing, no swap: what the kernel offers a process against its own memory being read. And
 * nothing left behind by OpenSSL, which frees what it decoded of a private key without wiping it. */
#include "crypto/process.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void *plain_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(n);
}

static void wiping_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p)
		explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

/* Never in place: realloc(3) would free the old memory as it is. */
static void *wiping_realloc(void *old, size_t n, const char *file, int line)
{
	size_t had = old ? malloc_usable_size(old) : 0;
	void *p = malloc(n);

	if (!p)
		return NULL;
	if (had > 0)
		memcpy(p, old, had < n ? had : n);
	wiping_free(old, file, line);
	return p;
}

int process_hide_memory(void)
{
	const struct rlimit none = {0, 0}, all = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	/* Under a finite limit locked memory makes later allocations fail: all or nothing. */
	if (setrlimit(RLIMIT_MEMLOCK, &all) == 0)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	return CRYPTO_set_mem_functions(plain_malloc, wiping_realloc, wiping_free) == 1 ? 0 : -EBUSY;
}
