/* SPDX-License-Identifier: Apache-2.0
 * The image key wrapped by a key provider, in ocicrypt's key provider protocol (docs/keyprovider.md there;
 * FORMAT.md §8): a question and an answer in JSON, over whatever reaches the provider. In a pod's VM that is
 * the Confidential Data Hub, which asks the key broker; where images are sealed, a program or a service of
 * the publisher's. Any thread. */
#ifndef COCOON_CRYPTO_KEY_PROVIDER_H
#define COCOON_CRYPTO_KEY_PROVIDER_H

#include "crypto/secret.h"
#include "proto/base/bytes.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"

#define KEY_PROVIDER_NAME "attestation-agent" /* the one that Confidential Containers have */
#define KEY_PROVIDER_MAX_ANSWER (256u << 10)
#define KEY_PROVIDER_MAX_PACKETS 16u /* that are asked about: each may be a key broker's work */

/* Put `question` to the provider and append what it answers to `answer` (secret, with room for
 * KEY_PROVIDER_MAX_ANSWER). 0, or a negative errno with words: -ENOKEY when the provider did not give the
 * key, others when it could not be asked. */
typedef int key_provider_ask(void *arg, const struct buf *question, struct buf *answer, struct err *e);

/* Have `image_key` of the image `descriptor` wrapped, with the provider's own `parameters`, and append
 * base64(packet) to `to` (born with its largest size), after a comma when it is not empty. 0; -EPROTO for an
 * answer that is none; -E2BIG; what `ask` says. */
int key_provider_wrap(struct buf *to, const struct secret *image_key, const struct digest *descriptor,
		      const char *parameters, key_provider_ask *ask, void *arg, struct err *e);

/* Have the first packet of `annotation` unwrapped for which there is a key. 0; -ENOKEY when there is none;
 * -EINVAL for a broken annotation, -EPROTO for a broken answer; -EUCLEAN when what was unwrapped breaks [W1];
 * what `ask` says. No copy of the key is left. */
int key_provider_unwrap(struct secret *image_key, const char *annotation, const struct digest *descriptor,
			key_provider_ask *ask, void *arg, struct err *e);

#endif
