/* SPDX-License-Identifier: Apache-2.0
 * From plaintext to a sealed chunk: header, zstd where it pays, padding, key from the exact message,
 * AES-256-GCM, id (FORMAT.md §6, §7). A sealer is scratch state of one thread; what it makes is a function of
 * the plaintext, the PRK and the options alone. Every call: 0, -ENOMEM, or -EINVAL for sizes outside the
 * format. */
#ifndef COCOON_PUBLISHER_CHUNK_SEAL_H
#define COCOON_PUBLISHER_CHUNK_SEAL_H

#include "crypto/secret.h"
#include "proto/base/digest.h"

#include <stddef.h>
#include <stdint.h>

enum padding { PADDING_NONE, PADDING_PADME };

struct seal_options {
	int level; /* of zstd, 1 … 19 */
	enum padding padding;
};

struct sealed_chunk {
	struct digest id;     /* SHA-256 of the stored bytes */
	uint32_t stored_size; /* tag included */
	uint32_t plain_size;
	struct secret key; /* wipe the struct after use */
};

struct chunk_sealer;

int chunk_sealer_new(struct chunk_sealer **out, const struct seal_options *o);
void chunk_sealer_free(struct chunk_sealer *s); /* wipes; NULL is fine */

/* Seal n bytes (1 … MAX_CHUNK_SIZE) under a key derived with `prk`. *stored is the sealer's, until its next
 * call. */
int chunk_seal(struct chunk_sealer *s, const struct secret *prk, const void *plain, size_t n,
	       struct sealed_chunk *out, const uint8_t **stored);

/* The same in two steps, for the root chunk, whose key is known only after its message: make the message … */
int chunk_message(struct chunk_sealer *s, const void *plain, size_t n, struct digest *m_digest,
		  uint32_t *stored_size);
/* … and seal the message that was made last. A message is sealed once: -EINVAL without a new one. */
int chunk_seal_message(struct chunk_sealer *s, const struct secret *key, struct sealed_chunk *out,
		       const uint8_t **stored);

/* Padmé: the smallest length that is at least n and whose last E - S bits are zero, E = floor(log2 n),
 * S = floor(log2 E) + 1 (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019). */
uint64_t padme(uint64_t n);

#endif
