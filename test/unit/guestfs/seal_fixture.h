/* SPDX-License-Identifier: Apache-2.0
 * A sealed image in memory, made straight from FORMAT.md with OpenSSL and zstd and none of the project's own
 * format or key code: a second opinion on the format, for tests only. Aborts when anything fails. */
#ifndef COCOON_TEST_SEAL_FIXTURE_H
#define COCOON_TEST_SEAL_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
	uint8_t *data;
	size_t size;
	size_t room; /* the fixture's own: how much it has allocated */
};

struct sealed {
	uint8_t image_key[32];
	uint8_t descriptor[256];
	char *manifest;
	uint32_t n_blobs; /* the index is the last */
	struct blob blobs[128];
	uint32_t n_chunks, n_meta_chunks;
};

/* All that is random in an image: the same secrets and the same bytes give the same image. */
struct seal_secrets {
	uint8_t image_key[32], domain[32], meta[32], salt[32];
};

struct seal_options {
	const struct seal_secrets *secrets; /* NULL: fresh ones */
	uint32_t max_chunk_size;	    /* 0: 1 MiB */
	uint32_t cut;	       /* plaintext of every chunk but the last: a multiple of 4096. 0: 64 KiB */
	uint32_t meta_size;    /* the image's first bytes, sealed as metadata: a multiple of 4096; 0: 4096 */
	uint32_t page_extents; /* of one map page. 0: 1000 */
	uint32_t n_data_blobs; /* 0: 1 */
	uint32_t padding;      /* zeros behind every payload */
	bool raw;	       /* do not compress */
	const char *config;    /* NULL: "{}" */
	bool startup;	       /* list every data chunk, the last first */
	/* mistakes of a publisher's */
	const uint32_t *startup_first; /* what the list begins with instead; NULL: no mistake */
	bool unnamed;		       /* one more data chunk, that no extent names */
	bool id_twice;		       /* the last chunk's table entry has the id of the one before */
};

/* `size` is a multiple of 4096. */
void seal(struct sealed *out, const uint8_t *image, size_t size, const struct seal_options *options);
void seal_free(struct sealed *s);

/* Seal message `m` under `key` as a chunk is sealed: n + 16 bytes to `out`. */
void seal_message(uint8_t *out, const uint8_t *m, size_t n, const uint8_t key[static 32]);

#endif
