/* SPDX-License-Identifier: Apache-2.0
 * From our error codes to what the reader of a file sees, in one table; and the one door through which both
 * fronts read the image, so that no failure of a host is ever shown as anything but a failure. */
#ifndef COCOON_GUESTFS_FUSE_ERROR_H
#define COCOON_GUESTFS_FUSE_ERROR_H

#include "guestfs/fuse_loop.h"
#include "guestfs/image.h"

/* The errno (positive) for a reply, from what the EROFS reader or image_read() returned. */
int fuse_error_of(int r);

/* image_pread() for the fronts: an erofs_pread over a `struct image *`. Says the reason in the log, at most
 * 100 times, and returns -EIO whatever it was (-ENOMEM stays): a missing chunk must not become a missing
 * file. */
int image_read(void *image, void *to, size_t n, uint64_t offset, struct err *e);

/* Answer `req` with n bytes (at least one) of the image, or with the failure: as image_read(), from where
 * they lie. */
void fuse_reply_image(fuse_req_t req, struct image *image, size_t n, uint64_t offset);

#endif
