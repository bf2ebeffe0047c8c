/* SPDX-License-Identifier: Apache-2.0
 * Directories: blocks that each hold an array of entries and then their names, sorted by bytes through the
 * whole directory. A block is checked as a whole before any of its entries is believed. */
#include "guestfs/erofs_internal.h"
#include "proto/base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRY_SIZE 12u
#define ENTRIES_MAX (EROFS_BLOCK / ENTRY_SIZE)

struct name {
	const uint8_t *at;
	size_t size;
};

/* A directory block in memory, checked. */
struct block {
	uint8_t data[EROFS_BLOCK];
	size_t size;
	uint32_t n; /* entries */
};

static const uint8_t types[] = {DT_UNKNOWN, DT_REG, DT_DIR, DT_CHR, DT_BLK, DT_FIFO, DT_SOCK, DT_LNK};

static int bad_directory(struct err *e, uint64_t nid, const char *what)
{
	return err_set(e, -EUCLEAN, "EROFS directory %llu: %s", (unsigned long long)nid, what);
}

static uint32_t name_offset(const struct block *b, uint32_t i)
{
	return get_le16(b->data + i * ENTRY_SIZE + 8);
}

/* The last name ends at the first zero byte, or with the data. */
static struct name name_of(const struct block *b, uint32_t i)
{
	uint32_t start = name_offset(b, i);
	size_t size = i + 1 < b->n ? name_offset(b, i + 1) - start : b->size - start;

	if (i + 1 == b->n) {
		const uint8_t *end = memchr(b->data + start, '\0', size);

		if (end)
			size = (size_t)(end - (b->data + start));
	}
	return (struct name){b->data + start, size};
}

static int name_compare(struct name a, struct name b)
{
	int r = memcmp(a.at, b.at, a.size < b.size ? a.size : b.size);

	if (r == 0)
		r = a.size < b.size ? -1 : a.size > b.size;
	return r;
}

/* Offsets first: only then do names have lengths. */
static bool offsets_are_valid(struct block *b)
{
	uint32_t first = b->size >= ENTRY_SIZE ? name_offset(b, 0) : 0;

	if (first < ENTRY_SIZE || first % ENTRY_SIZE || first >= b->size)
		return false;
	b->n = first / ENTRY_SIZE;
	for (uint32_t i = 1; i < b->n; i++)
		if (name_offset(b, i) <= name_offset(b, i - 1) || name_offset(b, i) >= b->size)
			return false;
	return true;
}

static const char *entries_wrong(const struct block *b)
{
	for (uint32_t i = 0; i < b->n; i++) {
		const uint8_t *raw = b->data + i * ENTRY_SIZE;
		struct name name = name_of(b, i);

		if (raw[10] == 0 || raw[10] >= sizeof(types) || raw[11] != 0)
			return "an entry of unknown type";
		if (name.size == 0 || name.size > EROFS_NAME_SIZE)
			return "a name of an impossible length";
		if (memchr(name.at, '\0', name.size) || memchr(name.at, '/', name.size))
			return "a name with a zero byte or a slash";
		if (i > 0 && name_compare(name_of(b, i - 1), name) >= 0)
			return "names out of order";
	}
	return NULL;
}

static int block_read(const struct erofs *fs, const struct erofs_inode *dir, uint64_t number, struct block *b,
		      struct err *e)
{
	const char *wrong;
	int r = erofs_read(fs, dir, b->data, EROFS_BLOCK, number * EROFS_BLOCK, &b->size, e);

	if (r < 0)
		return r;
	wrong = offsets_are_valid(b) ? entries_wrong(b) : "entries that overlap or leave their block";
	return wrong ? bad_directory(e, dir->nid, wrong) : 0;
}

static uint64_t n_blocks(const struct erofs_inode *dir)
{
	return dir->size / EROFS_BLOCK + (dir->size % EROFS_BLOCK != 0);
}

/* A position: the block's number in the upper bits, the entry's number in the block in the lower twelve. */
static int emit(const struct block *b, uint64_t number, uint32_t from, erofs_entry_fn *fn, void *arg)
{
	for (uint32_t i = from; i < b->n; i++) {
		const uint8_t *raw = b->data + i * ENTRY_SIZE;
		struct name name = name_of(b, i);
		struct erofs_entry entry = {
			.nid = get_le64(raw),
			.next = i + 1 < b->n ? number * EROFS_BLOCK + i + 1 : (number + 1) * EROFS_BLOCK,
			.name = (const char *)name.at,
			.name_size = name.size,
			.type = types[raw[10]],
		};
		int r = fn(arg, &entry);

		if (r != 0)
			return r;
	}
	return 0;
}

int erofs_readdir(const struct erofs *fs, const struct erofs_inode *dir, uint64_t position,
		  erofs_entry_fn *fn, void *arg, struct err *e)
{
	uint32_t from = (uint32_t)(position % EROFS_BLOCK);
	uint8_t last[EROFS_NAME_SIZE];
	struct name before = {last, 0};
	struct block b;

	if (!S_ISDIR(dir->mode))
		return err_set(e, -ENOTDIR, "not a directory");
	for (uint64_t number = position / EROFS_BLOCK; number < n_blocks(dir); number++, from = 0) {
		int r = block_read(fs, dir, number, &b, e);

		if (r == 0 && before.size > 0 && name_compare(before, name_of(&b, 0)) >= 0)
			r = bad_directory(e, dir->nid, "blocks out of order");
		if (r == 0)
			r = emit(&b, number, from, fn, arg);
		if (r != 0)
			return r < 0 ? r : 0;
		before.size = name_of(&b, b.n - 1).size;
		memcpy(last, name_of(&b, b.n - 1).at, before.size);
	}
	return 0;
}

/* Binary search among the entries: the one that is `name`, or b->n. */
static uint32_t find(const struct block *b, struct name name)
{
	uint32_t low = 0, high = b->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int r = name_compare(name_of(b, middle), name);

		if (r == 0)
			return middle;
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return b->n;
}

/* Blocks are searched by their first names; each step is decided by indices, so that disorder cannot make it
 * endless. */
int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name, size_t name_size,
		 uint64_t *nid, uint8_t *type, struct err *e)
{
	struct name wanted = {(const uint8_t *)name, name_size};
	uint64_t low = 0, high;
	struct block b;

	if (!S_ISDIR(dir->mode))
		return err_set(e, -ENOTDIR, "not a directory");
	for (high = n_blocks(dir); low < high;) {
		uint64_t middle = low + (high - low) / 2;
		int r = block_read(fs, dir, middle, &b, e);
		uint32_t i;

		if (r < 0)
			return r;
		if (name_compare(wanted, name_of(&b, 0)) < 0) {
			high = middle;
			continue;
		}
		i = find(&b, wanted);
		if (i < b.n) {
			*nid = get_le64(b.data + i * ENTRY_SIZE);
			*type = types[b.data[i * ENTRY_SIZE + 10]];
			return 0;
		}
		if (name_compare(wanted, name_of(&b, b.n - 1)) < 0)
			break; /* it would stand in this block */
		low = middle + 1;
	}
	return err_set(e, -ENOENT, "no such entry");
}

static uint8_t type_of_mode(uint32_t mode)
{
	return (uint8_t)IFTODT(mode);
}

int erofs_child(const struct erofs *fs, const struct erofs_inode *dir, uint64_t nid, uint8_t type,
		struct erofs_inode *out, struct err *e)
{
	uint64_t parent = 0;
	uint8_t parent_type;
	int r = erofs_inode_read(fs, out, nid, e);

	if (r < 0)
		return r;
	if (type_of_mode(out->mode) != type)
		return bad_directory(e, dir->nid, "an entry whose inode is of another type");
	if (type != DT_DIR)
		return 0;
	if (nid == fs->root_nid)
		return bad_directory(e, dir->nid, "it holds the root");
	r = erofs_lookup(fs, out, "..", 2, &parent, &parent_type, e);
	if (r == -ENOENT || (r == 0 && parent != dir->nid))
		r = bad_directory(e, nid, "its parent is another directory");
	return r;
}
