/* SPDX-License-Identifier: Apache-2.0
 * Where an image key comes from, as users type it after --key: `file:PATH` (an image key file) or
 * `recipient:PATH` (a private key in PEM that unwraps the manifest's annotation). Paths only: a secret on the
 * command line is refused. */
#ifndef COCOON_GUESTFS_KEY_SPEC_H
#define COCOON_GUESTFS_KEY_SPEC_H

#include "guestfs/image.h"

#include <stdbool.h>
#include <stddef.h>

#define KEY_SPECS_MAX 64

enum key_kind { KEY_FILE, KEY_RECIPIENT };

struct key_spec {
	enum key_kind kind;
	const char *path; /* borrowed from the text that was parsed */
	struct buf text;  /* what the file holds, once it was read */
	int result;	  /* of reading it */
};

struct key_specs {
	size_t n;
	struct key_spec spec[KEY_SPECS_MAX];
};

/* Append what `text` says. 0; -EINVAL with words (which never repeat `text`: it may be a secret); -E2BIG. */
int key_specs_add(struct key_specs *k, const char *text, struct err *e);

/* Is there one among them for which anybody can seal an image? A recipient's public key is no secret: that
 * such a key opens an image says nothing about who made it. */
bool key_specs_fit_anyones(const struct key_specs *k);

/* Read the files: finding a key needs no file any more. What cannot be read is told when a key is looked for.
 */
void key_specs_load(struct key_specs *k);
void key_specs_wipe(struct key_specs *k); /* what was read */

/* An image_key_finder over a `struct key_specs *` that was loaded: tries each in order; the first key whose
 * commitment the descriptor confirms is used. -ENOKEY when none fits, with what each one said. */
image_key_finder key_specs_find;

#endif
