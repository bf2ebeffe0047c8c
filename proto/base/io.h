/* SPDX-License-Identifier: Apache-2.0
 * Whole reads and writes on descriptors, and files that appear complete or not at all. All return 0 or a
 * negative errno; interrupted calls go on; a file that ends early is -ENODATA. Any thread. */
#ifndef COCOON_BASE_IO_H
#define COCOON_BASE_IO_H

#include "proto/base/bytes.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

int read_full(int fd, void *buf, size_t n);
int write_full(int fd, const void *buf, size_t n);
int pread_full(int fd, void *buf, size_t n, uint64_t offset);
int pwrite_full(int fd, const void *buf, size_t n, uint64_t offset);

/* Append the whole file to `to` (born with its largest size: -E2BIG beyond it). dirfd may be AT_FDCWD. */
int file_read(int dirfd, const char *path, struct buf *to, struct err *e);

/* Write `path` so that it holds all n bytes or is not there: a temporary name beside it, fsync, rename.
 * With `mode` as the file's permissions. */
int file_write(int dirfd, const char *path, const void *p, size_t n, unsigned mode, struct err *e);

/* The same, with 0600 and without waiting for the disk: after a crash of the machine the file may be there
 * with other bytes. For what is checked whenever it is read, and can be had again. */
int file_write_unsynced(int dirfd, const char *path, const void *p, size_t n, struct err *e);

/* Write a file that was not there (-EEXIST): a key is never replaced, not even in a race. Leaves nothing when
 * it fails, but a crash in the middle may leave a part. */
int file_create(int dirfd, const char *path, const void *p, size_t n, unsigned mode, struct err *e);

/* mkdir -p with 0700 for what is missing. 0 also when it was there. */
int make_directories(const char *path, struct err *e);

#endif
