/* SPDX-License-Identifier: Apache-2.0
 * Who may open a sealed image, as users type it after --recipient: a public key in a PEM file (FILE or
 * jwe:FILE), or a key provider with its own parameters (provider:attestation-agent:PARAMETERS, as skopeo's
 * --encryption-key). How the provider is reached stands in the file that OCICRYPT_KEYPROVIDER_CONFIG names,
 * ocicrypt's: by a program ("cmd") or, as its Rust has it, a socket that speaks ttrpc. */
#ifndef COCOON_PUBLISHER_RECIPIENT_H
#define COCOON_PUBLISHER_RECIPIENT_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

struct recipient {
	enum { RECIPIENT_PUBLIC_KEY, RECIPIENT_PROVIDER } kind;
	const char *text; /* path, or parameters; borrowed from what was parsed */
};

/* 0 or -EINVAL with words. */
int recipient_parse(struct recipient *out, const char *text, struct err *e);

/* The image key wrapped for each, as annotations (FORMAT.md §8): of public keys in `jwe`, of the provider in
 * `provider`; both born with their largest size, empty when there is none of that kind. */
int recipients_wrap(const struct recipient *list, size_t n, const struct secret *image_key,
		    const struct digest *descriptor, struct buf *jwe, struct buf *provider, struct err *e);

#endif
