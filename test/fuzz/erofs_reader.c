/* SPDX-License-Identifier: Apache-2.0
 * An EROFS image as a publisher's key vouches for it, and nobody else: the whole tree is walked, every
 * question of the tree front is asked of every inode. The checksum is set right first, as it keeps nobody
 * out. */
#include "guestfs/erofs_reader.h"
#include "proto/base/bytes.h"
#include "test/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define QUESTIONS_MAX 20000u /* of one image */

struct image {
	uint8_t *data;
	size_t size;
	struct erofs fs;
	unsigned int left; /* questions */
};

static int pread_image(void *arg, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct image *i = arg;

	fuzz_assert(offset <= i->size && n <= i->size - offset);
	memcpy(to, i->data + offset, n);
	if (i->left == 0)
		return err_set(e, -EINTR, "enough");
	i->left--;
	return 0;
}

static void set_checksum(uint8_t *data, size_t size)
{
	uint32_t crc = UINT32_MAX;

	if (size < 4096)
		return;
	put_le32(data + 1028, 0);
	for (size_t i = 1024; i < 4096; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
	}
	put_le32(data + 1028, crc);
}

struct walk {
	struct image *i;
	const struct erofs_inode *dir;
	unsigned int depth;
};

static void ask(struct image *i, const struct erofs_inode *x)
{
	static char room[EROFS_XATTR_VALUE_SIZE];
	static const uint64_t offsets[] = {0, 1, 4095, 4096, 1 << 20, INT64_MAX, UINT64_MAX};
	char target[EROFS_SYMLINK_SIZE + 1];
	uint64_t found;
	size_t n = 0;

	for (size_t k = 0; S_ISREG(x->mode) && k < sizeof(offsets) / sizeof(offsets[0]); k++) {
		if (erofs_read(&i->fs, x, room, 5000, offsets[k], &n, NULL) == 0)
			fuzz_assert(n <= 5000);
		if (erofs_seek(&i->fs, x, offsets[k], k % 2, &found, NULL) == 0)
			fuzz_assert(found >= offsets[k] && found <= x->size);
	}
	if (erofs_readlink(&i->fs, x, target, NULL) == 0)
		fuzz_assert(strlen(target) == x->size);
	if (erofs_listxattr(&i->fs, x, room, sizeof(room), &n, NULL) == 0)
		fuzz_assert(n <= sizeof(room));
	(void)erofs_getxattr(&i->fs, x, "security.capability", room, sizeof(room), &n, NULL);
}

static int visit(void *arg, const struct erofs_entry *entry)
{
	const struct walk *w = arg;
	struct erofs_inode x;
	uint64_t nid;
	uint8_t type;

	fuzz_assert(entry->name_size >= 1 && entry->name_size <= EROFS_NAME_SIZE);
	(void)erofs_lookup(&w->i->fs, w->dir, entry->name, entry->name_size, &nid, &type, NULL);
	if (erofs_child(&w->i->fs, w->dir, entry->nid, entry->type, &x, NULL) < 0)
		return w->i->left == 0;
	ask(w->i, &x);
	if (S_ISDIR(x.mode) && w->depth < 20) {
		struct walk below = {w->i, &x, w->depth + 1};

		(void)erofs_readdir(&w->i->fs, &x, 0, visit, &below, NULL);
	}
	return w->i->left == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image i = {.size = size, .left = QUESTIONS_MAX};
	struct erofs_inode root;
	struct walk w = {&i, &root, 0};

	/* exactly its size, so that a sanitizer sees a read past it */
	i.data = malloc(size + (size == 0));
	fuzz_assert(i.data);
	if (size)
		memcpy(i.data, data, size);
	set_checksum(i.data, size);
	if (erofs_open(&i.fs, pread_image, &i, size, NULL) == 0 &&
	    erofs_inode_read(&i.fs, &root, i.fs.root_nid, NULL) == 0) {
		ask(&i, &root);
		(void)erofs_readdir(&i.fs, &root, 0, visit, &w, NULL);
	}
	free(i.data);
	return 0;
}
