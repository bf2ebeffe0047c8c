/* SPDX-License-Identifier: Apache-2.0
 * The table, and the log's patience. */
#include "guestfs/fuse_error.h"
#include "proto/base/cleanup.h"
#include "proto/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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

/* Whatever went wrong is -EIO for who reads, but a lack of memory. */
static int tell(int r, uint64_t offset, size_t n, const struct err *words, struct err *e)
{
	static atomic_uint told; /* a counter: no partner */
	unsigned int before = atomic_fetch_add_explicit(&told, 1, memory_order_relaxed);

	if (before < TOLD_MAX)
		log_warn("read failed offset=%llu size=%zu error=%d reason=\"%s\"%s",
			 (unsigned long long)offset, n, -r, words->text,
			 before + 1 == TOLD_MAX ? " (further ones are only counted)" : "");
	return err_set(e, r == -ENOMEM ? -ENOMEM : -EIO, "%s", words->text);
}

int image_read(void *image, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct err words = {""};
	int r = image_pread(image, to, n, offset, &words);

	return r < 0 ? tell(r, offset, n, &words, e) : 0;
}

static int reply_copied(fuse_req_t req, struct image *image, size_t n, uint64_t offset)
{
	cleanup_free void *p = malloc(n);
	int r = p ? image_read(image, p, n, offset, NULL) : -ENOMEM;

	if (r == 0)
		(void)fuse_reply_buf(req, p, n);
	if (p)
		explicit_bzero(p, n);
	return r;
}

void fuse_reply_image(fuse_req_t req, struct image *image, size_t n, uint64_t offset)
{
	struct err words = {""};
	struct image_view v;
	int r = image_view(image, &v, n, offset, &words);

	if (r == 0) {
		(void)fuse_reply_iov(req, v.parts, (int)v.n_parts);
		image_view_release(image, &v);
	} else if (r == VIEW_TOO_LARGE) {
		r = reply_copied(req, image, n, offset);
	} else {
		r = tell(r, offset, n, &words, NULL);
	}
	if (r < 0)
		(void)fuse_reply_err(req, fuse_error_of(r));
}
