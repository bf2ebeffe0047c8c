/* SPDX-License-Identifier: Apache-2.0
 * The index blob: takes the EROFS metadata as a stream, the sealed layers, the source's config and the
 * start-up list, and writes chunk table, hash tree, sealed metadata and descriptor (FORMAT.md §3 … §6). */
#ifndef COCOON_PUBLISHER_INDEX_WRITER_H
#define COCOON_PUBLISHER_INDEX_WRITER_H

#include "crypto/secret.h"
#include "proto/base/digest.h"
#include "proto/base/err.h"
#include "publisher/seal_pool.h"
#include "publisher/sealed_layer.h"

#include <stddef.h>
#include <stdint.h>

struct index_writer;

struct index_inputs {
	const struct sealed_layer *layers; /* borrowed until the writer is freed */
	size_t n_layers;
	const void *config; /* the source's OCI config */
	size_t config_size;
	const uint32_t *startup_blocks; /* what is read first: blocks of the image. Metadata goes in front,
					   data keeps this order */
	size_t n_startup;
	const struct secret *image_key;
};

struct index_result {
	struct digest digest;	  /* of the index blob */
	uint64_t size;		  /* of the index blob */
	struct digest descriptor; /* the image's identity */
	uint64_t image_size;	  /* plaintext */
	uint32_t n_chunks, n_meta_chunks;
	uint32_t n_startup;	 /* chunks on the start-up list */
	uint64_t startup_stored; /* their stored bytes */
};

/* Metadata chunks get a random key of their own, made here. `spool_fd` is an empty file for sealed metadata
 * (borrowed). */
int index_writer_new(struct index_writer **out, struct seal_pool *pool, int spool_fd, struct err *e);
/* The next bytes of the EROFS metadata, from block 0 on. */
int index_writer_metadata(struct index_writer *w, const void *p, size_t n, struct err *e);
/* All metadata came (a multiple of 4096 bytes): write the index blob to `fd` (empty, borrowed). */
int index_writer_finish(struct index_writer *w, const struct index_inputs *in, int fd,
			struct index_result *out, struct err *e);
void index_writer_free(struct index_writer *w); /* wipes; NULL is fine */

#endif
