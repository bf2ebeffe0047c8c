/* SPDX-License-Identifier: Apache-2.0 */
#include "erofs_fixture.h"
#include "proto/base/bytes.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

uint64_t fixture_inode(uint64_t nid)
{
	return FIXTURE_META + nid * 32;
}

static uint8_t *extended(uint8_t *image, uint64_t nid, unsigned int layout, uint32_t mode, uint64_t size,
			 uint32_t u, uint32_t nlink)
{
	uint8_t *p = image + fixture_inode(nid);

	put_le16(p, (uint16_t)(1 | layout << 1));
	put_le16(p + 4, (uint16_t)mode);
	put_le64(p + 8, size);
	put_le32(p + 16, u);
	put_le32(p + 24, 100000);
	put_le32(p + 28, 200000);
	put_le64(p + 32, 1234567890);
	put_le32(p + 40, 987654321);
	put_le32(p + 44, nlink);
	return p + 64;
}

static uint8_t *compact(uint8_t *image, uint64_t nid, unsigned int layout, uint32_t mode, uint32_t size,
			uint32_t u, uint16_t nlink)
{
	uint8_t *p = image + fixture_inode(nid);

	put_le16(p, (uint16_t)(layout << 1));
	put_le16(p + 4, (uint16_t)mode);
	put_le16(p + 6, nlink);
	put_le32(p + 8, size);
	put_le32(p + 16, u);
	put_le16(p + 24, 1000);
	put_le16(p + 26, 1001);
	return p + 32;
}

struct entry {
	const char *name;
	uint64_t nid;
	uint8_t type;
};

/* Returns how many bytes. */
static size_t put_entries(uint8_t *p, const struct entry *e, size_t n)
{
	size_t at = n * 12;

	for (size_t i = 0; i < n; i++) {
		put_le64(p + i * 12, e[i].nid);
		put_le16(p + i * 12 + 8, (uint16_t)at);
		p[i * 12 + 10] = e[i].type;
		memcpy(p + at, e[i].name, strlen(e[i].name));
		at += strlen(e[i].name);
	}
	return at;
}

void fixture_name(char to[static 16], unsigned int i)
{
	(void)snprintf(to, 16, "a-name-of-%03u", i);
}

static void put_directories(uint8_t *image)
{
	static const struct entry root[] = {
		{".", NID_ROOT, 2},	     {"..", NID_ROOT, 2},	{"big", NID_BIG, 1},
		{"chunked", NID_CHUNKED, 1}, {"dir", NID_DIR, 2},	{"fifo", NID_FIFO, 5},
		{"indexed", NID_INDEXED, 1}, {"inline", NID_INLINE, 1}, {"link", NID_LINK, 7},
		{"null", NID_NULL, 3},	     {"x", NID_X, 1},
	};
	static char names[FIXTURE_NAMES][16];
	struct entry dir[FIXTURE_NAMES + 2] = {{".", NID_DIR, 2}, {"..", NID_ROOT, 2}};
	uint8_t *end = extended(image, NID_ROOT, 2, S_IFDIR | 0755, 0, UINT32_MAX, 3);
	size_t size = put_entries(end, root, sizeof(root) / sizeof(root[0])), at = 0;
	unsigned int block = FIXTURE_DIR_BLOCK;

	put_le64(image + fixture_inode(NID_ROOT) + 8, size);
	for (unsigned int i = 0; i < FIXTURE_NAMES; i++) {
		fixture_name(names[i], i);
		dir[i + 2] = (struct entry){names[i], NID_FIFO, 5};
	}
	/* 160 entries of 25 bytes fill 4000 bytes of a block; the last is shorter, and its rest is zero */
	while (at < FIXTURE_NAMES + 2) {
		size_t n = FIXTURE_NAMES + 2 - at < 160 ? FIXTURE_NAMES + 2 - at : 160;

		size = put_entries(image + (size_t)block++ * 4096, dir + at, n);
		at += n;
	}
	(void)extended(image, NID_DIR, 0, S_IFDIR | 0700, (block - 1 - FIXTURE_DIR_BLOCK) * 4096 + size,
		       FIXTURE_DIR_BLOCK, 2);
}

static size_t put_xattr(uint8_t *p, uint8_t index, const char *name, const void *value, uint16_t size)
{
	size_t name_size = strlen(name);

	p[0] = (uint8_t)name_size;
	p[1] = index;
	put_le16(p + 2, size);
	memcpy(p + 4, name, name_size);
	if (size)
		memcpy(p + 4 + name_size, value, size);
	return (4 + name_size + size + 3) & ~(size_t)3;
}

static void put_xattrs(uint8_t *image)
{
	uint8_t *p = compact(image, NID_X, 0, S_IFREG | S_ISUID | 0755, 0, 0, 1), *start = p, *shared;

	p[4] = 2; /* shared ones */
	put_le32(p + 12, 0);
	put_le32(p + 16, 4); /* the second is 16 bytes further */
	p += 20;
	p += put_xattr(p, 1, "empty", NULL, 0);
	p += put_xattr(p, 6, "capability", "0123456789abcdefghij", 20);
	p += put_xattr(p, 2, "", "acl", 3);
	p += put_xattr(p, 4, "t", "trust", 5);
	put_le16(image + fixture_inode(NID_X) + 2, (uint16_t)((size_t)(p - start - 12) / 4 + 1));
	shared = image + FIXTURE_SHARED_XATTRS * 4096;
	(void)put_xattr(shared + put_xattr(shared, 1, "shared", "value", 5), 6, "selinux", "label", 5);
}

static void put_superblock(uint8_t *image)
{
	uint8_t *p = image + 1024;

	put_le32(p, 0xE0F5E1E2);
	put_le32(p + 8, 3); /* checksum, mtime */
	p[12] = 12;
	put_le16(p + 14, NID_ROOT);
	put_le64(p + 16, 10);
	put_le64(p + 24, FIXTURE_BUILD_TIME);
	put_le32(p + 32, 5);
	put_le32(p + 36, FIXTURE_BLOCKS);
	put_le32(p + 40, FIXTURE_META / 4096);
	put_le32(p + 44, FIXTURE_SHARED_XATTRS);
	put_le32(p + 80, 4); /* chunked files */
}

void fixture_seal(uint8_t *image)
{
	uint32_t crc = UINT32_MAX;

	put_le32(image + 1028, 0);
	for (size_t i = 1024; i < 4096; i++) {
		crc ^= image[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
	}
	put_le32(image + 1028, crc);
}

void fixture_make(uint8_t *image)
{
	uint8_t *p;

	memset(image, 0, FIXTURE_SIZE);
	/* data blocks say where they are */
	for (size_t i = 8 * 4096; i < FIXTURE_SIZE; i++)
		image[i] = (uint8_t)(i / 4096 * 16 + i % 7);
	put_superblock(image);
	put_directories(image);
	put_xattrs(image);
	(void)compact(image, NID_BIG, 0, S_IFREG | 0644, 3 * 4096 + 100, 8, 1);
	p = extended(image, NID_INLINE, 2, S_IFREG | 0600, 4096 + 50, 12, 1);
	memset(p, 'i', 50);
	p = extended(image, NID_CHUNKED, 4, S_IFREG | 0644, 3 * 4096 + 7, 0, 1);
	put_le32(p, 9);
	put_le32(p + 4, UINT32_MAX);
	put_le32(p + 8, 10);
	put_le32(p + 12, 9);
	p = extended(image, NID_INDEXED, 4, S_IFREG | 0644, 3 * 4096, 0x21, 1);
	put_le32(p + 4, 8);
	put_le32(p + 12, UINT32_MAX);
	p = compact(image, NID_LINK, 2, S_IFLNK | 0777, sizeof(FIXTURE_TARGET) - 1, UINT32_MAX, 1);
	memcpy(p, FIXTURE_TARGET, sizeof(FIXTURE_TARGET) - 1);
	(void)extended(image, NID_NULL, 0, S_IFCHR | 0666, 0,
		       (70000 & 0xff) | 300 << 8 | (70000 & ~0xffu) << 12, 1);
	put_le64(image + fixture_inode(NID_NULL) + 32, (uint64_t)-5);
	(void)compact(image, NID_FIFO, 0, S_IFIFO | 0600, 0, 0, FIXTURE_NAMES + 1);
	fixture_seal(image);
}
