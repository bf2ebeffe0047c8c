/* SPDX-License-Identifier: Apache-2.0
 * Where an image key comes from, as users type it after --key: `file:PATH` (an image key file),
 * `recipient:PATH` (a private key in PEM that unwraps the manifest's annotation) or `cdh` and `cdh:ADDRESS`
 * (the Confidential Data Hub, which has another annotation unwrapped after attestation). Paths only: a secret
 * on the command line is refused. */
#ifndef COCOON_GUESTFS_KEY_SPEC_H
#define COCOON_GUESTFS_KEY_SPEC_H

#include "guestfs/image.h"
#include "proto/ttrpc/client.h"

#include <stdbool.h>
#include <stddef.h>

#define KEY_SPECS_MAX 64

#define KEY_CDH_ADDRESS "unix:/run/confidential-containers/cdh.sock" /* of `cdh` alone */

enum key_kind { KEY_FILE, KEY_RECIPIENT, KEY_CDH };

struct key_spec {
	enum key_kind kind;
	const char *path; /* or address; borrowed from the text that was parsed */
	int result;	  /* of loading what follows */
	struct buf text;  /* what the file holds */
	struct ttrpc_client cdh;
};

struct key_specs {
	size_t n;
	struct key_spec spec[KEY_SPECS_MAX];
};

/* Append what `text` says. 0; -EINVAL with words (which never repeat `text`: it may be a secret); -E2BIG. */
int key_specs_add(struct key_specs *k, const char *text, struct err *e);

/* Is there one among them for which anybody can seal an image? A recipient's public key is no secret, and
 * what a key broker has for others may be none: that such a key opens an image says nothing about who made
 * it. */
bool key_specs_fit_anyones(const struct key_specs *k);

/* Read the files, connect to the hub: finding a key opens and connects nothing any more. Nobody is asked for
 * a key yet. What failed is told when a key is looked for. */
void key_specs_load(struct key_specs *k);
void key_specs_wipe(struct key_specs *k); /* what was read; connections are closed */

/* An image_key_finder over a `struct key_specs *` that was loaded: tries each in order; the first key whose
 * commitment the descriptor confirms is used. -ENOKEY when none fits, with what each one said. */
image_key_finder key_specs_find;

#endif
