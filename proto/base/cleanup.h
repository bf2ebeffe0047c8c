/* SPDX-License-Identifier: Apache-2.0
 * Ownership that is visible where the variable is born: a variable marked cleanup_x releases what it
 * holds when it leaves its scope, unless it was handed on with take_x(). */
#ifndef COCOON_BASE_CLEANUP_H
#define COCOON_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

/* close(2) keeps errno as it was, so that an error path may still read it. */
static inline void cleanup_close_p(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved;
}

static inline void cleanup_fclose_p(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void cleanup_closedir_p(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

#define cleanup_free __attribute__((cleanup(cleanup_free_p)))
#define cleanup_close __attribute__((cleanup(cleanup_close_p)))
#define cleanup_fclose __attribute__((cleanup(cleanup_fclose_p)))
#define cleanup_closedir __attribute__((cleanup(cleanup_closedir_p)))

/* For our own types: DEFINE_CLEANUP(chunk_cache, struct chunk_cache *, chunk_cache_close) gives
 * cleanup_chunk_cache, used as  __attribute__((cleanup(cleanup_chunk_cache))). */
#define DEFINE_CLEANUP(name, type, release)                                                                  \
	static inline void cleanup_##name(type *p)                                                           \
	{                                                                                                    \
		if (*p)                                                                                      \
			release(*p);                                                                         \
	}

/* Hand the value on; the variable then holds nothing. */
static inline int take_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define take_ptr(p)                                                                                          \
	__extension__({                                                                                      \
		__typeof__(p) take_v = (p);                                                                  \
		(p) = NULL;                                                                                  \
		take_v;                                                                                      \
	})

#endif
