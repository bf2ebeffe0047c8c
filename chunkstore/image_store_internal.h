/* SPDX-License-Identifier: Apache-2.0
 * What the image store is made of: image_store.c keeps what is known on disk and in memory within bounds,
 * image_open.c finds out which image a reference means and fetches what is not known. */
#ifndef COCOON_CHUNKSTORE_IMAGE_STORE_INTERNAL_H
#define COCOON_CHUNKSTORE_IMAGE_STORE_INTERNAL_H

#include "chunkstore/image_names.h"
#include "chunkstore/image_store.h"
#include "chunkstore/stored_image.h"

#include <pthread.h>
#include <stdbool.h>

/* An image on disk. */
struct known {
	struct digest digest;
	uint64_t bytes;
	int64_t used_ms;
	struct stored_image *image; /* counted; NULL: not loaded */
	struct known *next;
};

/* A registry being asked. Lives as long as somebody waits. */
struct opening {
	const char *name; /* of the one who asks */
	const char *registry;
	unsigned waiters;
	bool done;
	int result;
	struct stored_image *image; /* counted */
	struct err err;
	struct opening *next;
};

struct image_store {
	int dir, lock_file;
	struct image_store_options options;
	struct registry_client *registry;
	struct chunk_cache *cache;
	pthread_mutex_t lock; /* guards what follows; never held across the network */
	pthread_cond_t opened;
	struct known *known;
	struct image_names names;
	struct opening *openings;
	uint64_t serial; /* of temporary folders */
	struct image_store_stats stats;
};

/* image_store.c, under the lock. */
struct known **find_known(struct image_store *s, const struct digest *digest);
struct known *add_known(struct image_store *s, const struct digest *digest, uint64_t bytes);
/* Keep within bounds; `but` was asked for just now, and may be NULL. */
void trim_images(struct image_store *s, const struct known *but);
/* Take a folder out of sight, then away. Nothing happens when there is none of that name. */
void remove_image_folder(struct image_store *s, const char *name);

/* image_store.c, takes the lock: an image that is on disk, with a reference. 0; -ENOENT when it is not, or is
 * damaged: it is gone by then; -ENOMEM. */
int load_known(struct image_store *s, const struct digest *digest, struct stored_image **out);

static inline struct stored_image *image_ref(struct stored_image *i)
{
	(void)atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
	return i;
}

#endif
