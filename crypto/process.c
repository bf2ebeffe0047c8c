/* SPDX-License-Identifier: Apache-2.0
 * No core files, no tracing, no swap: what the kernel offers a process against its own memory being read. And
 * nothing left behind by OpenSSL, which frees what it decoded of a private key without wiping it. */
#include "crypto/process.h"
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "proto/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static void *noted_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return memory_note(malloc(n));
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
	void *p = memory_note(malloc(n));

	if (!p)
		return NULL;
	if (had > 0)
		memcpy(p, old, had < n ? had : n);
	wiping_free(old, file, line);
	return p;
}

/* MADV_DONTDUMP for every mapping there is and will be: core(5), /proc/PID/coredump_filter. A kernel without
 * core files has no such file. */
static int dump_no_mapping(void)
{
	cleanup_close int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return write_full(fd, "0", 1);
}

int process_own_openssl(void)
{
	if (CRYPTO_set_mem_functions(noted_malloc, wiping_realloc, wiping_free) != 1)
		return -EBUSY;
	/* made at its first use otherwise, which OpenSSL 3.0 does not survive without memory */
	return OSSL_LIB_CTX_get0_global_default() ? 0 : -ENOMEM;
}

int process_hide_memory(void)
{
	const struct rlimit none = {0, 0}, all = {RLIM_INFINITY, RLIM_INFINITY};
	int r = dump_no_mapping(); /* first: the file is not ours any more when we are not dumpable */

	if (r < 0)
		return r;
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	/* Under a finite limit locked memory makes later allocations fail: all or nothing. */
	if (setrlimit(RLIMIT_MEMLOCK, &all) == 0)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	return process_own_openssl();
}
