/* SPDX-License-Identifier: Apache-2.0
 * The table, and the log's patience. */
#include "guestfs/fuse_error.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdatomic.h>

#define TOLD_MAX 100u

int fuse_error_of(int r)
{
	static const int shown[] = {ENOENT, ENODATA, ERANGE, EINVAL, ENOTDIR,
				    EISDIR, ENOMEM,  EROFS,  EINTR,  ENXIO};

	for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		if (r == -shown[i])
			return shown[i];
	return EIO;
}

int image_read(void *image, void *to, size_t n, uint64_t offset, struct err *e)
{
	static atomic_uint told; /* a counter: no partner */
	struct err words = {""};
	unsigned int before;
	int r = image_pread(image, to, n, offset, &words);

	if (r == 0)
		return 0;
	before = atomic_fetch_add_explicit(&told, 1, memory_order_relaxed);
	if (before < TOLD_MAX)
		log_warn("read failed offset=%llu size=%zu error=%d reason=\"%s\"%s",
			 (unsigned long long)offset, n, -r, words.text,
			 before + 1 == TOLD_MAX ? " (further ones are only counted)" : "");
	return err_set(e, r == -ENOMEM ? -ENOMEM : -EIO, "%s", words.text);
}
