/* SPDX-License-Identifier: Apache-2.0
 * EROFS as its writer needs it (kernel: Documentation/filesystems/erofs.rst; fs/erofs/erofs_fs.h): blocks of
 * 4096 bytes, no compression, features that kernels from 6.1 and erofs-utils 1.5 know. Offsets are bytes in
 * the structure. */
#ifndef COCOON_PUBLISHER_EROFS_FORMAT_H
#define COCOON_PUBLISHER_EROFS_FORMAT_H

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_COMPAT 0x3u	/* the superblock has a checksum; inode times are mtimes */
#define EROFS_CHUNKED_FILE 0x4u /* incompatible feature: there are chunk-based inodes */
#define EROFS_HOLE 0xffffffffu

#define EROFS_SUPER_OFFSET 1024u
#define EROFS_SUPER_SIZE 128u

enum { /* superblock */
       SUPER_MAGIC = 0,
       SUPER_CHECKSUM = 4,
       SUPER_COMPAT = 8,
       SUPER_BLOCK_LOG2 = 12,
       SUPER_ROOT_NID = 14,
       SUPER_INODES = 16,
       SUPER_TIME = 24,
       SUPER_TIME_NSEC = 32,
       SUPER_BLOCKS = 36,
       SUPER_UUID = 48,
       SUPER_INCOMPAT = 80,
};

#define EROFS_SLOT 32u /* inodes begin at multiples of this; nid = offset / 32 */

enum {			 /* both forms of an inode */
       INODE_FORMAT = 0, /* bit 0: extended; bits 1-3: layout */
       INODE_XATTR_COUNT = 2,
       INODE_MODE = 4,
};

#define EROFS_COMPACT_SIZE 32u
enum {
	COMPACT_NLINK = 6,
	COMPACT_SIZE = 8,
	COMPACT_UNION = 16,
	COMPACT_UID = 24,
	COMPACT_GID = 26,
};

#define EROFS_EXTENDED_SIZE 64u
enum {
	EXTENDED_SIZE = 8,
	EXTENDED_UNION = 16, /* start block, device number or chunk format */
	EXTENDED_UID = 24,
	EXTENDED_GID = 28,
	EXTENDED_MTIME = 32,
	EXTENDED_MTIME_NSEC = 40,
	EXTENDED_NLINK = 44,
};

enum { EROFS_LAYOUT_PLAIN = 0, EROFS_LAYOUT_INLINE = 2, EROFS_LAYOUT_CHUNKS = 4 };

#define EROFS_DIRENT_SIZE 12u
enum { DIRENT_NID = 0, DIRENT_NAME = 8, DIRENT_TYPE = 10 };
enum {
	EROFS_TYPE_FILE = 1,
	EROFS_TYPE_DIR = 2,
	EROFS_TYPE_CHR = 3,
	EROFS_TYPE_BLK = 4,
	EROFS_TYPE_FIFO = 5,
	EROFS_TYPE_SYMLINK = 7,
};

/* Extended attributes: a header, then entries, each {name size, name index, LE16 value size, name, value}
 * padded to 4. */
#define EROFS_XATTR_HEADER 12u
#define EROFS_XATTR_MAX 262136u /* entries of one inode: their count of 4-byte units is 16 bits */
enum {
	EROFS_INDEX_USER = 1,
	EROFS_INDEX_ACL_ACCESS = 2,
	EROFS_INDEX_ACL_DEFAULT = 3,
	EROFS_INDEX_TRUSTED = 4,
	EROFS_INDEX_SECURITY = 6,
};

#endif
