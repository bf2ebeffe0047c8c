/* SPDX-License-Identifier: Apache-2.0
 * What is tried: a sealed image with every kind of node, a host that serves it from another process, keys in
 * files, and everything that can be asked of the image with the right answers. The process that makes a
 * subject uses no OpenSSL for it, so that its children can be the first to. */
#ifndef COCOON_TEST_FAILURE_SUBJECT_H
#define COCOON_TEST_FAILURE_SUBJECT_H

#include "guestfs/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct subject {
	char dir[64];
	char key[96], ec[96], rsa[96], address[96]; /* image key, private keys, unix:… */
	pid_t host;
	uint8_t *plain; /* the image */
	size_t size;
};

void subject_make(struct subject *s);
void subject_drop(struct subject *s);

/* One question and its answer. Questions are about the filesystem in the image, its bytes and its config. */
struct question {
	enum { ASK_INODE, ASK_LOOKUP, ASK_LIST, ASK_LINK, ASK_NAMES, ASK_DATA, ASK_BYTES, ASK_CONFIG } what;
	uint64_t nid, child;
	char name[32];
	uint64_t offset;
	size_t size;
};

enum { ANSWER_MAX = 80 << 10 };

struct answer {
	size_t size;
	uint8_t *bytes; /* ANSWER_MAX */
};

struct book {
	struct question *questions;
	struct answer *answers;
	size_t n;
};

/* All questions, answered from memory. */
void book_make(struct book *b, const struct subject *s);

/* Ask the image, and hold what it says against the book, also what it says before it fails. 0: the right
 * answer; negative errno: none; 1: a wrong one, or what is left in the buffer of a failed read is not zero.
 * Allocates nothing itself. One caller at a time. */
int book_ask(const struct book *b, size_t n, struct image *i, struct err *e);

#endif
