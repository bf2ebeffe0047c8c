/* SPDX-License-Identifier: Apache-2.0
 * Superblock, inodes and file data of an uncompressed EROFS image. All arithmetic is in 64 bits, on values
 * that were held against their limits first; every address is checked against the filesystem's size before it
 * is read. */
#include "guestfs/erofs_internal.h"
#include "proto/base/bytes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define SUPER_OFFSET 1024u
#define SUPER_SIZE 128u
#define SUPER_SLOT 16u
#define MAGIC 0xE0F5E1E2u
#define COMPAT_CHECKSUM 0x1u
#define INCOMPAT_CHUNKED 0x4u
#define INODE_COMPACT_SIZE 32u
#define INODE_EXTENDED_SIZE 64u
#define CHUNK_FORMAT_BITS 0x1fu
#define CHUNK_FORMAT_INDEXES 0x20u
#define NULL_BLOCK UINT32_MAX
#define DIRECTORY_MIN_SIZE 27u /* "." and ".." */

/* Reflected CRC-32C without the final inversion, over what follows the first KiB of block 0, the checksum
 * itself taken as zero. */
static uint32_t block_checksum(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < n; i++) {
		crc ^= i >= 4 && i < 8 ? 0 : p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
	}
	return crc;
}

static int bad_super(struct err *e, const char *what)
{
	return err_set(e, -EUCLEAN, "EROFS superblock: %s", what);
}

static int super_decode(struct erofs *fs, const uint8_t *block, uint64_t size, struct err *e)
{
	struct bytes b = bytes_of(block + SUPER_OFFSET, SUPER_SIZE);
	uint32_t magic = bytes_le32(&b), checksum = bytes_le32(&b), compat = bytes_le32(&b);
	uint8_t block_bits = bytes_u8(&b), slots = bytes_u8(&b), directory_bits, n_prefixes;
	uint32_t meta, xattr, incompat;
	uint16_t devices;
	const uint8_t *volume;

	fs->root_nid = bytes_le16(&b);
	fs->n_inodes = bytes_le64(&b);
	fs->build_time = (int64_t)bytes_le64(&b);
	fs->build_time_nsec = bytes_le32(&b);
	fs->n_blocks = bytes_le32(&b);
	meta = bytes_le32(&b);
	xattr = bytes_le32(&b);
	(void)bytes_take(&b, 16); /* uuid */
	volume = bytes_take(&b, 16);
	incompat = bytes_le32(&b);
	(void)bytes_take(&b, 2); /* compression, of which there is none */
	devices = bytes_le16(&b);
	(void)bytes_take(&b, 2);
	directory_bits = bytes_u8(&b);
	n_prefixes = bytes_u8(&b);

	if (b.bad || magic != MAGIC)
		return bad_super(e, "no EROFS filesystem");
	if (!(compat & COMPAT_CHECKSUM) ||
	    block_checksum(block + SUPER_OFFSET, EROFS_BLOCK - SUPER_OFFSET) != checksum)
		return bad_super(e, "the checksum is wrong or missing");
	if (block_bits != EROFS_BLOCK_BITS || directory_bits != 0)
		return bad_super(e, "blocks are not 4096 bytes");
	if (incompat & ~INCOMPAT_CHUNKED || devices != 0 || n_prefixes != 0)
		return bad_super(e, "it has features that this reader has not");
	if (SUPER_OFFSET + SUPER_SIZE + slots * SUPER_SLOT > EROFS_BLOCK)
		return bad_super(e, "it leaves its block");
	if (!memchr(volume, '\0', 16))
		return bad_super(e, "the volume name does not end");
	if (fs->build_time_nsec >= 1000000000)
		return bad_super(e, "the build time is no time");
	if (fs->n_blocks == 0 || (uint64_t)fs->n_blocks * EROFS_BLOCK > size)
		return bad_super(e, "it is larger than the image");
	fs->size = (uint64_t)fs->n_blocks * EROFS_BLOCK;
	fs->super_end = SUPER_OFFSET + SUPER_SIZE + slots * SUPER_SLOT;
	fs->meta_start = (uint64_t)meta * EROFS_BLOCK;
	fs->xattr_start = (uint64_t)xattr * EROFS_BLOCK;
	if (fs->meta_start >= fs->size)
		return bad_super(e, "the inodes are past its end");
	return 0;
}

int erofs_open(struct erofs *out, erofs_pread *pread, void *arg, uint64_t size, struct err *e)
{
	struct erofs fs = {.pread = pread, .arg = arg};
	uint8_t block[EROFS_BLOCK];
	struct erofs_inode root;
	int r;

	if (size < EROFS_BLOCK)
		return bad_super(e, "the image is smaller than a block");
	r = pread(arg, block, sizeof(block), 0, e);
	if (r == 0)
		r = super_decode(&fs, block, size, e);
	if (r == 0)
		r = erofs_inode_read(&fs, &root, fs.root_nid, e);
	if (r < 0)
		return r;
	if (!S_ISDIR(root.mode))
		return bad_super(e, "the root is not a directory");
	*out = fs;
	return 0;
}

static int bad_inode(struct err *e, uint64_t nid, const char *what)
{
	return err_set(e, -EUCLEAN, "EROFS inode %llu: %s", (unsigned long long)nid, what);
}

static uint64_t blocks_of(uint64_t size)
{
	return (size >> EROFS_BLOCK_BITS) + (size % EROFS_BLOCK != 0);
}

/* FLAT_PLAIN, and all but the tail of FLAT_INLINE. */
static bool blocks_are_valid(const struct erofs *fs, uint64_t start, uint64_t n)
{
	return n == 0 || (start > 0 && start < fs->n_blocks && n <= fs->n_blocks - start);
}

/* `end` is where inode and attributes end in the image. */
static int check_flat(const struct erofs *fs, struct erofs_inode *x, uint64_t end, struct err *e)
{
	uint64_t n = blocks_of(x->size), tail;

	if (x->layout == EROFS_FLAT_PLAIN || n == 0)
		return blocks_are_valid(fs, x->start_block, n)
			       ? 0
			       : bad_inode(e, x->nid, "data outside the image");
	tail = x->size - (n - 1) * EROFS_BLOCK;
	if (!blocks_are_valid(fs, x->start_block, n - 1))
		return bad_inode(e, x->nid, "data outside the image");
	if (end % EROFS_BLOCK + tail > EROFS_BLOCK || end + tail > fs->size)
		return bad_inode(e, x->nid, "inline data crosses a block");
	x->data_offset = end;
	return 0;
}

static int check_chunked(const struct erofs *fs, struct erofs_inode *x, uint64_t end, uint32_t format,
			 struct err *e)
{
	uint64_t n, start;

	if (!S_ISREG(x->mode) || format & ~(CHUNK_FORMAT_BITS | CHUNK_FORMAT_INDEXES))
		return bad_inode(e, x->nid, "chunk format");
	x->chunk_bits = (uint8_t)(EROFS_BLOCK_BITS + (format & CHUNK_FORMAT_BITS));
	x->entry_size = format & CHUNK_FORMAT_INDEXES ? 8 : 4;
	n = (x->size >> x->chunk_bits) + ((x->size & ((1ull << x->chunk_bits) - 1)) != 0);
	start = (end + x->entry_size - 1) & ~(uint64_t)(x->entry_size - 1);
	if (start > fs->size || n > (fs->size - start) / x->entry_size)
		return bad_inode(e, x->nid, "the block map is outside the image");
	x->data_offset = start;
	return 0;
}

/* What each type of file may be. `u` is the inode's union: start block, chunk format or device number. */
static int check_data(const struct erofs *fs, struct erofs_inode *x, uint64_t end, uint32_t u, struct err *e)
{
	if (S_ISCHR(x->mode) || S_ISBLK(x->mode))
		x->rdev = makedev((u >> 8) & 0xfff, (u & 0xff) | (u >> 12 & 0xfff00));
	switch (x->mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		if (x->size != 0 || x->layout != EROFS_FLAT_PLAIN)
			return bad_inode(e, x->nid, "a special file with data");
		return 0;
	case S_IFLNK:
		if (x->size == 0 || x->size > EROFS_SYMLINK_SIZE)
			return bad_inode(e, x->nid, "symbolic link of an impossible length");
		break;
	case S_IFDIR:
		if (x->size < DIRECTORY_MIN_SIZE)
			return bad_inode(e, x->nid, "a directory too small");
		break;
	case S_IFREG:
		break;
	default:
		return bad_inode(e, x->nid, "of no known type");
	}
	if (x->layout == EROFS_CHUNK_BASED)
		return check_chunked(fs, x, end, u, e);
	x->start_block = u;
	return check_flat(fs, x, end, e);
}

static int inode_decode(const struct erofs *fs, struct erofs_inode *x, uint64_t offset, const uint8_t *raw,
			size_t n, struct err *e)
{
	struct bytes b = bytes_of(raw, n);
	uint16_t format = bytes_le16(&b), xattrs = bytes_le16(&b), startblk_hi;
	bool extended = format & 1;
	unsigned int layout = format >> 1 & 7;
	uint32_t size_here = extended ? INODE_EXTENDED_SIZE : INODE_COMPACT_SIZE, u;
	uint64_t end;

	x->mode = bytes_le16(&b);
	if (extended) {
		startblk_hi = bytes_le16(&b);
		x->size = bytes_le64(&b);
		u = bytes_le32(&b);
		(void)bytes_le32(&b); /* a serial number that nobody uses */
		x->uid = bytes_le32(&b);
		x->gid = bytes_le32(&b);
		x->mtime = (int64_t)bytes_le64(&b);
		x->mtime_nsec = bytes_le32(&b);
		x->nlink = bytes_le32(&b);
		bytes_zero(&b, 16);
	} else {
		startblk_hi = 0;
		x->nlink = bytes_le16(&b);
		x->size = bytes_le32(&b);
		bytes_zero(&b, 4); /* newer kernels take it for a difference in time */
		u = bytes_le32(&b);
		(void)bytes_le32(&b);
		x->uid = bytes_le16(&b);
		x->gid = bytes_le16(&b);
		bytes_zero(&b, 4);
		x->mtime = fs->build_time;
		x->mtime_nsec = fs->build_time_nsec;
	}
	if (b.bad || startblk_hi != 0 || format >> 4 != 0)
		return bad_inode(e, x->nid, "reserved bits are set, or it is cut off");
	if (layout != EROFS_FLAT_PLAIN && layout != EROFS_FLAT_INLINE && layout != EROFS_CHUNK_BASED)
		return bad_inode(e, x->nid, "compressed, or of an unknown layout");
	if (x->size > INT64_MAX || x->nlink == 0 || x->mtime_nsec >= 1000000000)
		return bad_inode(e, x->nid, "impossible size, link count or time");
	if (xattrs == 1)
		return bad_inode(e, x->nid, "an attribute area of one word");
	x->layout = (enum erofs_layout)layout;
	x->xattr_offset = offset + size_here;
	x->xattr_size = xattrs == 0 ? 0 : XATTR_HEADER_SIZE + 4 * ((uint32_t)xattrs - 1);
	end = x->xattr_offset + x->xattr_size;
	if (end > fs->size)
		return bad_inode(e, x->nid, "attributes outside the image");
	return check_data(fs, x, end, u, e);
}

int erofs_inode_read(const struct erofs *fs, struct erofs_inode *out, uint64_t nid, struct err *e)
{
	struct erofs_inode x = {.nid = nid};
	uint8_t raw[INODE_EXTENDED_SIZE];
	uint64_t offset;
	size_t n;
	int r;

	if (nid > (fs->size - fs->meta_start) / EROFS_SLOT)
		return bad_inode(e, nid, "outside the image");
	offset = fs->meta_start + nid * EROFS_SLOT;
	if (fs->size - offset < INODE_COMPACT_SIZE)
		return bad_inode(e, nid, "outside the image");
	n = fs->size - offset < sizeof(raw) ? INODE_COMPACT_SIZE : sizeof(raw);
	if (offset < fs->super_end && offset + n > SUPER_OFFSET)
		return bad_inode(e, nid, "inside the superblock");
	r = fs->pread(fs->arg, raw, n, offset, e);
	if (r == 0)
		r = inode_decode(fs, &x, offset, raw, raw[0] & 1 ? n : INODE_COMPACT_SIZE, e);
	if (r == 0)
		*out = x;
	return r;
}

static int map_flat(const struct erofs_inode *x, uint64_t offset, uint64_t *at, uint64_t *n)
{
	uint64_t last = (blocks_of(x->size) - 1) * EROFS_BLOCK;

	if (x->layout == EROFS_FLAT_INLINE && offset >= last) {
		*at = x->data_offset + (offset - last);
		*n = x->size - offset;
	} else {
		*at = (uint64_t)x->start_block * EROFS_BLOCK + offset;
		*n = (x->layout == EROFS_FLAT_INLINE ? last : x->size) - offset;
	}
	return 0;
}

static int map_chunked(const struct erofs *fs, const struct erofs_inode *x, uint64_t offset, uint64_t *at,
		       uint64_t *n, struct err *e)
{
	uint64_t number = offset >> x->chunk_bits, start = number << x->chunk_bits;
	uint64_t size = x->size - start < 1ull << x->chunk_bits ? x->size - start : 1ull << x->chunk_bits;
	uint8_t raw[8];
	uint32_t block;
	int r = fs->pread(fs->arg, raw, x->entry_size, x->data_offset + number * x->entry_size, e);

	if (r < 0)
		return r;
	block = get_le32(raw + x->entry_size - 4);
	*n = size - (offset - start);
	if (block == NULL_BLOCK)
		return EROFS_HOLE;
	if (x->entry_size == 8 && get_le32(raw) != 0) /* high bits of the block, device */
		return bad_inode(e, x->nid, "a chunk on another device");
	if (!blocks_are_valid(fs, block, blocks_of(size)))
		return bad_inode(e, x->nid, "a chunk outside the image");
	*at = (uint64_t)block * EROFS_BLOCK + (offset - start);
	return 0;
}

int erofs_map(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset, uint64_t *at,
	      uint64_t *n, struct err *e)
{
	return inode->layout == EROFS_CHUNK_BASED ? map_chunked(fs, inode, offset, at, n, e)
						  : map_flat(inode, offset, at, n);
}

int erofs_read(const struct erofs *fs, const struct erofs_inode *inode, void *to, size_t n, uint64_t offset,
	       size_t *done, struct err *e)
{
	uint8_t *p = to;
	size_t left;

	if (offset >= inode->size)
		n = 0;
	else if (n > inode->size - offset)
		n = (size_t)(inode->size - offset);
	for (left = n; left > 0;) {
		uint64_t at = 0, part = 0;
		int r = erofs_map(fs, inode, offset, &at, &part, e);

		if (part > left)
			part = left;
		if (r == EROFS_HOLE)
			memset(p, 0, (size_t)part);
		else if (r == 0)
			r = fs->pread(fs->arg, p, (size_t)part, at, e);
		if (r < 0)
			return r;
		p += part;
		offset += part;
		left -= (size_t)part;
	}
	*done = n;
	return 0;
}

/* Chunk numbers from `*number` on, until one is a hole as wanted. */
static int seek_chunk(const struct erofs *fs, const struct erofs_inode *x, bool hole, uint64_t *number,
		      struct err *e)
{
	uint64_t end = (x->size >> x->chunk_bits) + ((x->size & ((1ull << x->chunk_bits) - 1)) != 0);
	uint8_t raw[EROFS_BLOCK];

	while (*number < end) {
		uint64_t most = sizeof(raw) / x->entry_size, n = end - *number < most ? end - *number : most;
		int r = fs->pread(fs->arg, raw, (size_t)n * x->entry_size,
				  x->data_offset + *number * x->entry_size, e);

		if (r < 0)
			return r;
		for (uint64_t i = 0; i < n; i++, ++*number)
			if ((get_le32(raw + (i + 1) * x->entry_size - 4) == NULL_BLOCK) == hole)
				return 0;
	}
	return 0;
}

int erofs_seek(const struct erofs *fs, const struct erofs_inode *inode, uint64_t offset, bool hole,
	       uint64_t *out, struct err *e)
{
	uint64_t number, start;
	int r;

	if (offset >= inode->size)
		return err_set(e, -ENXIO, "past the end");
	if (inode->layout != EROFS_CHUNK_BASED) {
		*out = hole ? inode->size : offset;
		return 0;
	}
	number = offset >> inode->chunk_bits;
	r = seek_chunk(fs, inode, hole, &number, e);
	if (r < 0)
		return r;
	start = number << inode->chunk_bits;
	if (start < offset)
		start = offset;
	if (start >= inode->size && !hole)
		return err_set(e, -ENXIO, "no more data");
	*out = start < inode->size ? start : inode->size;
	return 0;
}

int erofs_readlink(const struct erofs *fs, const struct erofs_inode *inode,
		   char to[static EROFS_SYMLINK_SIZE + 1], struct err *e)
{
	size_t n;
	int r;

	if (!S_ISLNK(inode->mode))
		return err_set(e, -EINVAL, "not a symbolic link");
	r = erofs_read(fs, inode, to, EROFS_SYMLINK_SIZE, 0, &n, e);
	if (r < 0)
		return r;
	if (memchr(to, '\0', n))
		return bad_inode(e, inode->nid, "a zero byte in a symbolic link");
	to[n] = '\0';
	return 0;
}
