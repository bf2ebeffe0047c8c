/* SPDX-License-Identifier: Apache-2.0
 * A small EROFS image written by hand, with every layout, type and kind of attribute that the reader knows;
 * tests spoil it byte by byte. Numbers of inodes and blocks are fixed, so that a test can say where it spoils
 * what. */
#ifndef COCOON_TEST_EROFS_FIXTURE_H
#define COCOON_TEST_EROFS_FIXTURE_H

#include <stddef.h>
#include <stdint.h>

#define FIXTURE_BLOCKS 14u
#define FIXTURE_SIZE (FIXTURE_BLOCKS * 4096u)
#define FIXTURE_META 4096u	 /* where nid 0 lies: block 1 */
#define FIXTURE_SHARED_XATTRS 3u /* block */
#define FIXTURE_BUILD_TIME 1600000000

enum {
	NID_ROOT = 0,	  /* extended, inline: . .. big chunked dir fifo indexed inline link null x */
	NID_BIG = 20,	  /* compact, plain: blocks 8 … 11, 3 × 4096 + 100 bytes */
	NID_INLINE = 24,  /* extended, inline: block 12 and 50 bytes */
	NID_CHUNKED = 32, /* extended: chunks of a block 9, hole, 10, 9; 3 × 4096 + 7 bytes */
	NID_INDEXED = 40, /* extended: chunks of two blocks with indexes 8, hole; 3 × 4096 bytes */
	NID_LINK = 48,	  /* compact, inline: FIXTURE_TARGET */
	NID_NULL = 52,	  /* extended: character device 300:70000, time before 1970 with nanoseconds */
	NID_FIFO = 56,	  /* compact */
	NID_DIR = 60,	  /* extended, plain: blocks 4 … 6, FIXTURE_NAMES names beside . and .. */
	NID_X = 64,	  /* compact, empty, with attributes: see erofs_fixture.c */
};

#define FIXTURE_DIR_BLOCK 4u
#define FIXTURE_NAMES 300u
#define FIXTURE_TARGET "../some/where"

uint64_t fixture_inode(uint64_t nid); /* its byte in the image */
void fixture_name(char to[static 16],
		  unsigned int i); /* of directory dir, i < FIXTURE_NAMES; all are hard links of fifo */
void fixture_make(uint8_t *image); /* FIXTURE_SIZE bytes */
void fixture_seal(uint8_t *image); /* sets the checksum anew */

#endif
