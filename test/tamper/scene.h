/* SPDX-License-Identifier: Apache-2.0
 * One run of `mutate`: a host that has several images, mixes their parts and lies in its answers. What is
 * done is a function of the seed. */
#ifndef COCOON_TEST_SCENE_H
#define COCOON_TEST_SCENE_H

#include "host.h"
#include "random.h"
#include "specimen.h"
#include "store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The image that is asked for, an older version of it under the same keys, and a stranger. */
struct cast {
	struct specimen now, before, other;
	uint64_t *addresses; /* where in `now` each chunk is read; UINT64_MAX: nowhere */
};

#define FOCUS_MAX 32u
#define LIES_MAX 4u

struct lie; /* frame_lies.c */

struct scene {
	const struct cast *cast;
	struct random random;
	struct store store;
	size_t n_focus;
	uint32_t focus[FOCUS_MAX]; /* chunks that something was done to */
	bool identity;		   /* manifest or descriptor were touched */
	/* Over the wire: which answers are lied in, and how. */
	size_t n_lies;
	struct {
		unsigned int when;
		const struct lie *how;
	} lies[LIES_MAX];
	unsigned int n_answers, n_hellos; /* in this run */
	struct buf earlier;		  /* a frame of an answer before */
};

/* A mutation of what is stored, or a lie in the frames of an answer. */
struct mutation {
	const char *name;
	void (*apply)(struct scene *s);
};

extern const struct mutation chunk_mutations[]; /* chunks, table, tree */
extern const size_t n_chunk_mutations;
extern const struct mutation image_mutations[]; /* blobs, index, descriptor, manifest */
extern const size_t n_image_mutations;

struct lie {
	const char *name;
	/* Returns true when the guest may wait in vain unless the connection ends. */
	bool (*tell)(struct scene *s, struct answer *a);
};

extern const struct lie frame_lies[];
extern const size_t n_frame_lies;

/* The host's liar over a scene. After a few connections it is honest: nobody could read otherwise. */
host_liar scene_liar;

/* Note that chunk `number` was tampered with. */
void scene_focus(struct scene *s, uint32_t number);
/* A chunk, often one that was tampered with before. */
uint32_t scene_chunk(struct scene *s);
/* One of the three images. */
const struct sealed *scene_donor(struct scene *s);
/* A field of 4 or 8 bytes becomes another number. */
void scene_change_number(struct scene *s, uint8_t *field, size_t n);

#endif
