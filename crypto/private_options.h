/* SPDX-License-Identifier: Apache-2.0
 * What is inside a wrapped key: ocicrypt's private options, JSON with the image key and the image's
 * descriptor digest (FORMAT.md §8). Internal to crypto/: keywrap.h is the door. */
#ifndef COCOON_CRYPTO_PRIVATE_OPTIONS_H
#define COCOON_CRYPTO_PRIVATE_OPTIONS_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#define PRIVATE_OPTIONS_MAX 512 /* room enough for what private_options_encode() appends */

/* `to` comes from buf_init_secret(). */
void private_options_encode(struct buf *to, const struct secret *image_key, const struct digest *descriptor);

/* Take the key out of authentic text, which is changed on the way: the key is blanked in it. 0 or -EUCLEAN
 * ([W1]). */
int private_options_decode(struct secret *image_key, struct buf *text, const struct digest *descriptor,
			   struct err *e);

#endif
