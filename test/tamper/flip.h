/* SPDX-License-Identifier: Apache-2.0
 * One bit is flipped, one thing is read that covers it, and what came of that is counted: what flip.c (at
 * rest) and flip_wire.c (in frames) share. */
#ifndef COCOON_TEST_FLIP_H
#define COCOON_TEST_FLIP_H

#include "guestfs/image.h"
#include "specimen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is flipped, and how the image is asked for. */
enum kind {
	MANIFEST_BY_DIGEST,
	MANIFEST_BY_IDENTITY,
	MANIFEST_BY_TAG,
	MANIFEST_WITH_RECIPIENT,
	DESCRIPTOR,
	DESCRIPTOR_BY_DIGEST,
	TABLE,
	SUPERBLOCK,
	TREE,
	ROOT_CHUNK,
	MAP_CHUNK,
	CONFIG_CHUNK,
	STARTUP_CHUNK,
	METADATA_CHUNK,
	DATA_CHUNK,
	NAMES,
	FRAME_HELLO,
	FRAME_OPEN,
	FRAME_INDEX,
	FRAME_CHUNK,
	FRAME_CHUNK_BYTES,
	N_KINDS
};

#define CUT 4096u		  /* plaintext of a chunk */
#define LEAST_STORED (256u << 10) /* bytes of the image */

#define ERRORS 134 /* errno values, and one more for those beyond */

struct count {
	uint64_t flips, refused, asked_again, harmless, missed;
	uint64_t errors[ERRORS];
};

/* Harmless flips by where they were, as those who allow them say it. */
#define REASONS 16
struct reason {
	char text[100];
	uint64_t flips;
};

/* Of one process; in memory that its parent sees. */
struct tally {
	struct count kinds[N_KINDS];
	struct reason reasons[REASONS];
};

/* What every flip needs; each process has its own. */
struct bench {
	const struct specimen *specimen;
	const char *dir;	      /* of this process */
	const char *recipient;	      /* key specification: recipient:PATH */
	unsigned int share, n_shares; /* this process flips every n-th byte */
	bool all;		      /* every bit also where frames carry what was flipped at rest */
	struct tally *tally;
};

/* How a flip ended. */
struct outcome {
	int result;	    /* 0: the same bytes; a negative errno; WRONG, with judge_words */
	bool delivered;	    /* to the guest */
	bool asked_again;   /* the guest dropped the connection and got the right bytes on the next one */
	const char *reason; /* why it may be harmless; NULL: it must not be */
};

void flip_record(struct bench *b, enum kind kind, uint64_t byte, unsigned int bit, const struct outcome *o);

static inline bool flip_is_mine(const struct bench *b, uint64_t byte)
{
	return byte % b->n_shares == b->share;
}

#define SUPERBLOCK_REASON "superblock: for veritysetup; a guest takes every size from the descriptor [V2]"

/* Options for an image whose key is given as bytes. */
struct image_options flip_options(const struct specimen *s);

/* A chunk as the honest image shows it. */
struct place {
	uint32_t number;
	uint64_t address; /* reading one block here asks for it */
};

/* What each chunk is. */
struct chunks {
	size_t n_images, n_pages, n_config, n_startup;
	struct place *images, *pages; /* one for each chunk of the image, one for each map page */
	uint32_t config[4], startup[4];
	uint8_t *known; /* by number */
};

/* Ask an honest image; ends the process when it is not well. */
void flip_discover(struct bench *b, struct chunks *c);
void chunks_deinit(struct chunks *c);
/* Does every stored byte belong to something that is flipped, and are there enough of them? */
bool flip_covers_everything(struct bench *b, const struct chunks *c);

void flip_at_rest(struct bench *b, const struct chunks *c);
void flip_frames(struct bench *b, const struct place *data, size_t n_data);

#endif
