/* SPDX-License-Identifier: Apache-2.0
 * An uncompressed EROFS filesystem read in user space: names, attributes, directories, extended attributes,
 * file data. It takes the publisher's bytes as authentic but not as sound: whatever breaks the kernel's
 * documented format is refused with -EUCLEAN before it is used, and no size that the image claims is
 * allocated or looped over unchecked. Any thread; nothing is cached here, `pread` does that. Errors of
 * `pread` travel up unchanged. */
#ifndef COCOON_GUESTFS_EROFS_READER_H
#define COCOON_GUESTFS_EROFS_READER_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EROFS_NAME_SIZE 255u
#define EROFS_SYMLINK_SIZE 4095u
#define EROFS_XATTR_NAME_SIZE 255u /* with its prefix, as listxattr(2) shows it */
#define EROFS_XATTR_VALUE_SIZE 65535u

/* Exactly n bytes at `offset` (inside the image: it was checked), or a negative errno. */
typedef int erofs_pread(void *arg, void *to, size_t n, uint64_t offset, struct err *e);

struct erofs { /* the superblock, checked; the caller's storage */
	erofs_pread *pread;
	void *arg;
	uint64_t size;	      /* of the image; every address below it was checked */
	uint64_t n_inodes;    /* as the superblock says: for statfs only */
	uint64_t super_end;   /* of the superblock: no inode lies in front of it and behind its start */
	uint64_t meta_start;  /* where nid 0 lies */
	uint64_t xattr_start; /* where shared xattr 0 lies */
	uint64_t root_nid;
	int64_t build_time;
	uint32_t build_time_nsec;
	uint32_t n_blocks;
};

enum erofs_layout { EROFS_FLAT_PLAIN = 0, EROFS_FLAT_INLINE = 2, EROFS_CHUNK_BASED = 4 };

struct erofs_inode {
	uint64_t nid;
	uint64_t size;
	uint64_t xattr_offset; /* in the image; valid when xattr_size is not 0 */
	uint64_t data_offset;  /* FLAT_INLINE: of the tail; CHUNK_BASED: of the block map */
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t xattr_size;
	uint32_t mode, uid, gid, nlink;
	uint32_t start_block; /* flat layouts */
	dev_t rdev;
	enum erofs_layout layout;
	uint8_t chunk_bits; /* CHUNK_BASED: log2 of bytes */
	uint8_t entry_size; /* CHUNK_BASED: 4 or 8 bytes in the block map */
};

/* Read and check the superblock and the root inode. 0, -EUCLEAN, or what `pread` says. */
int erofs_open(struct erofs *out, erofs_pread *pread, void *arg, uint64_t size, struct err *e);

/* Read and check inode `nid`, which need not be trusted. */
int erofs_inode_read(const struct erofs *fs, struct erofs_inode *out, uint64_t nid, struct err *e);

/* Where byte `offset` (below the size) of a file's data lies in the image: *n bytes from *at on; EROFS_HOLE
 * when these are zeros that lie nowhere. */
enum { EROFS_HOLE = 1 };
int erofs_map(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset, uint64_t *at,
	      uint64_t *n, struct err *e);

/* Read at most n bytes of a file's data at `offset`; *done is fewer than n only at its end. Holes read as
 * zeros. */
int erofs_read(const struct erofs *fs, const struct erofs_inode *inode, void *to, size_t n, uint64_t offset,
	       size_t *done, struct err *e);

/* Where the next hole (or, when not `hole`, the next data) begins, from `offset` on; a file ends with a hole.
 * -ENXIO past the end, and when there is no more data. */
int erofs_seek(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset, bool hole,
	       uint64_t *out, struct err *e);

/* The target, NUL-terminated. -EINVAL when `inode` is no symlink. */
int erofs_readlink(const struct erofs *fs, const struct erofs_inode *inode,
		   char to[static EROFS_SYMLINK_SIZE + 1], struct err *e);

struct erofs_entry {
	uint64_t nid;
	uint64_t next;	  /* position of the entry behind it, for erofs_readdir() */
	const char *name; /* not NUL-terminated; borrowed for the call */
	size_t name_size;
	uint8_t type; /* DT_* of dirent.h */
};

/* Return 0 to go on, 1 to stop before this entry. */
typedef int erofs_entry_fn(void *arg, const struct erofs_entry *entry);

/* Call `fn` for each entry of directory `dir` from `position` on (0, or the `next` of an earlier entry); "."
 * and ".." included. A directory that is broken anywhere on the way ends with -EUCLEAN after the sound blocks
 * before it. */
int erofs_readdir(const struct erofs *fs, const struct erofs_inode *dir, uint64_t position,
		  erofs_entry_fn *fn, void *arg, struct err *e);

/* Find `name` in `dir`. 0 with *nid and *type (DT_*); -ENOENT only when a sound directory lacks it. */
int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name, size_t name_size,
		 uint64_t *nid, uint8_t *type, struct err *e);

/* Read the inode that an entry of `dir` names, as erofs_inode_read() does, and check that they fit: the same
 * type, and a directory's
 * ".." is `dir` (so no directory has two names and none is its own ancestor). */
int erofs_child(const struct erofs *fs, const struct erofs_inode *dir, uint64_t nid, uint8_t type,
		struct erofs_inode *out, struct err *e);

/* Append every attribute's name with its prefix and a NUL to `to`; *size is what they need. -ERANGE when that
 * is more than `room`, unless room is 0. */
int erofs_listxattr(const struct erofs *fs, const struct erofs_inode *inode, char *to, size_t room,
		    size_t *size, struct err *e);

/* The value of attribute `name`. -ENODATA when there is none; -ERANGE as above. */
int erofs_getxattr(const struct erofs *fs, const struct erofs_inode *inode, const char *name, void *to,
		   size_t room, size_t *size, struct err *e);

#endif
