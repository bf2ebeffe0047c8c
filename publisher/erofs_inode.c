/* SPDX-License-Identifier: Apache-2.0
 * Inodes and directory blocks. Directories and symlinks are inline where inode, xattrs and data fit into one
 * block; a file's data never are, so that data blobs do not depend on metadata. */
#include "publisher/erofs_inode.h"

#include "proto/base/bytes.h"
#include "publisher/erofs_format.h"

#include <string.h>

static bool is_compact(const struct erofs_plan *p, const struct node *n)
{
	return n->uid <= UINT16_MAX && n->gid <= UINT16_MAX && n->nlink <= UINT16_MAX &&
	       n->size <= UINT32_MAX && n->mtime == p->build_time && n->mtime_nsec == p->build_nsec;
}

static uint64_t n_chunks(const struct node *n)
{
	uint64_t blocks = (n->size + BLOCK_SIZE - 1) / BLOCK_SIZE,
		 chunk = (uint64_t)1 << n->sparse->chunk_log2;

	return (blocks + chunk - 1) / chunk;
}

void erofs_shape(struct erofs_shape *out, const struct erofs_plan *p, const struct node *n)
{
	struct erofs_shape s = {.extended = !is_compact(p, n), .layout = EROFS_LAYOUT_PLAIN};

	if (n->xattrs)
		s.xattr_size = EROFS_XATTR_HEADER + n->xattrs->size;
	if (S_ISREG(n->mode) && n->sparse) {
		s.layout = EROFS_LAYOUT_CHUNKS;
		s.tail_size = n_chunks(n) * 4;
	} else if ((S_ISDIR(n->mode) || S_ISLNK(n->mode)) &&
		   erofs_core_size(&s) + s.xattr_size + n->size <= BLOCK_SIZE) {
		s.layout = EROFS_LAYOUT_INLINE;
		s.tail_size = n->size;
	}
	*out = s;
}

/* What the field means depends on type and layout. */
static uint32_t encode_union(const struct erofs_plan *p, const struct node *n, const struct erofs_shape *s)
{
	if (S_ISCHR(n->mode) || S_ISBLK(n->mode))
		return n->rdev;
	if (s->layout == EROFS_LAYOUT_CHUNKS)
		return n->sparse->chunk_log2;
	if (s->layout == EROFS_LAYOUT_INLINE || n->size == 0)
		return 0;
	return n->start + (S_ISREG(n->mode) ? p->layer_start[n->layer] : p->dir_start);
}

uint32_t erofs_encode_inode(const struct erofs_plan *p, const struct node *n, const struct erofs_shape *s,
			    uint8_t out[static EROFS_INODE_MAX])
{
	uint32_t size = erofs_core_size(s);

	memset(out, 0, EROFS_INODE_MAX);
	put_le16(out + INODE_FORMAT, (uint16_t)(s->extended | s->layout << 1));
	put_le16(out + INODE_MODE, n->mode);
	if (s->extended) {
		put_le64(out + EXTENDED_SIZE, n->size);
		put_le32(out + EXTENDED_UNION, encode_union(p, n, s));
		put_le32(out + EXTENDED_UID, n->uid);
		put_le32(out + EXTENDED_GID, n->gid);
		put_le64(out + EXTENDED_MTIME, (uint64_t)n->mtime);
		put_le32(out + EXTENDED_MTIME_NSEC, n->mtime_nsec);
		put_le32(out + EXTENDED_NLINK, n->nlink);
	} else {
		put_le16(out + COMPACT_NLINK, (uint16_t)n->nlink);
		put_le32(out + COMPACT_SIZE, (uint32_t)n->size);
		put_le32(out + COMPACT_UNION, encode_union(p, n, s));
		put_le16(out + COMPACT_UID, (uint16_t)n->uid);
		put_le16(out + COMPACT_GID, (uint16_t)n->gid);
	}
	if (!s->xattr_size)
		return size;
	put_le16(out + INODE_XATTR_COUNT, (uint16_t)(1 + (s->xattr_size - EROFS_XATTR_HEADER) / 4));
	return size + EROFS_XATTR_HEADER; /* the header is zero: no filter, nothing shared */
}

void erofs_dirents_begin(struct erofs_dirents *d, const struct node *dir)
{
	*d = (struct erofs_dirents){.dir = dir, .next = dir->dir.first};
}

bool erofs_dirents_next(struct erofs_dirents *d, struct erofs_dirent *out)
{
	static const char dots[] = "..";
	uint32_t n_dots = d->dots + 1;
	const struct name *name = d->next;

	/* "." and ".." stand where their bytes put them: there are names that sort before. */
	if (d->dots < 2) {
		int r = name ? memcmp(name->text, dots, name->length < n_dots ? name->length : n_dots) : 1;

		if (r > 0 || (r == 0 && name->length > n_dots)) {
			const struct node *parent = d->dir->dir.self->dir;

			*out = (struct erofs_dirent){dots, n_dots, d->dots && parent ? parent : d->dir};
			d->dots++;
			return true;
		}
	}
	if (!name)
		return false;
	*out = (struct erofs_dirent){name->text, name->length, name->node};
	d->next = name->next;
	return true;
}

uint64_t erofs_dir_size(const struct node *dir, uint32_t *n_subdirs)
{
	struct erofs_dirents d;
	struct erofs_dirent entry;
	uint64_t blocks = 0;
	uint32_t used = 0;

	*n_subdirs = 0;
	erofs_dirents_begin(&d, dir);
	while (erofs_dirents_next(&d, &entry)) {
		uint32_t size = EROFS_DIRENT_SIZE + entry.length;

		if (used + size > BLOCK_SIZE) {
			blocks++;
			used = 0;
		}
		used += size;
	}
	for (const struct name *n = dir->dir.first; n; n = n->next)
		*n_subdirs += node_is_dir(n->node);
	return blocks * BLOCK_SIZE + used;
}

static uint8_t dirent_type(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EROFS_TYPE_DIR;
	case S_IFCHR:
		return EROFS_TYPE_CHR;
	case S_IFBLK:
		return EROFS_TYPE_BLK;
	case S_IFIFO:
		return EROFS_TYPE_FIFO;
	case S_IFLNK:
		return EROFS_TYPE_SYMLINK;
	default:
		return EROFS_TYPE_FILE;
	}
}

uint32_t erofs_dir_block(struct erofs_dirents *d, uint8_t block[static BLOCK_SIZE])
{
	struct erofs_dirents ahead = *d;
	struct erofs_dirent entry;
	uint32_t n = 0, used = 0;

	while (erofs_dirents_next(&ahead, &entry) && used + EROFS_DIRENT_SIZE + entry.length <= BLOCK_SIZE) {
		used += EROFS_DIRENT_SIZE + entry.length;
		n++;
	}
	memset(block, 0, BLOCK_SIZE);
	for (uint32_t i = 0, at = n * EROFS_DIRENT_SIZE; i < n; i++) {
		uint8_t *dirent = block + (size_t)i * EROFS_DIRENT_SIZE;

		(void)erofs_dirents_next(d, &entry);
		put_le64(dirent + DIRENT_NID, entry.node->nid);
		put_le16(dirent + DIRENT_NAME, (uint16_t)at);
		dirent[DIRENT_TYPE] = dirent_type(entry.node->mode);
		memcpy(block + at, entry.text, entry.length);
		at += entry.length;
	}
	return used;
}
