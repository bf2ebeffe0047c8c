/* SPDX-License-Identifier: Apache-2.0
 * Is what the guest returns the reference's, or a failure that looks like one? Bytes by the image reader;
 * names, sizes and attributes by the reader of the filesystem over it, through the door that the fronts use.
 * Each call gives 0 for "the same", a negative errno for "refused", WRONG for anything else. */
#ifndef COCOON_TEST_JUDGE_H
#define COCOON_TEST_JUDGE_H

#include "guestfs/image.h"
#include "random.h"
#include "specimen.h"

enum { WRONG = 1 };

/* What was wrong, for a person. */
extern char judge_words[200];

/* n bytes at `offset`; a failure leaves zeros. */
int judge_read(struct image *i, const struct specimen *ref, uint64_t offset, size_t n);
/* The sealed config. */
int judge_config(struct image *i, const struct specimen *ref);
/* The way to some file, and what can be asked of it. */
int judge_path(struct image *i, const struct specimen *ref, struct random *r);
/* Sizes, config, every byte. */
int judge_all(struct image *i, const struct specimen *ref);
/* Every directory, name, inode, attribute, target. */
int judge_tree(struct image *i, const struct specimen *ref);

#endif
