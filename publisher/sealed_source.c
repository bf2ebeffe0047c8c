/* SPDX-License-Identifier: Apache-2.0
 * The manifest, the public part of the index and the chunks of a sealed image, by ranges of its blobs. Chunks
 * that lie one behind the other are fetched in one piece. */
#include "publisher/sealed_source.h"
#include "proto/base/cleanup.h"
#include "publisher/repository.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_MAX (8u << 20) /* bytes of one request */

struct sealed_source {
	struct source source;
	struct repository *repository;
	struct oci_manifest manifest; /* sealed */
	struct buf json;
};

static const struct oci_blob *index_blob(const struct sealed_source *s)
{
	return &s->manifest.layers[s->manifest.n_layers - 1];
}

static int sealed_open(struct source *source, struct buf *manifest,
		       uint8_t descriptor[static DESCRIPTOR_SIZE], struct err *e)
{
	struct sealed_source *s = (struct sealed_source *)source;
	const struct oci_blob *index = index_blob(s);

	buf_put(manifest, s->json.data, s->json.size);
	if (buf_failed(manifest))
		return err_set(e, -E2BIG, "a manifest of %zu bytes", s->json.size);
	if (index->size < DESCRIPTOR_SIZE)
		return err_set(e, -EUCLEAN, "an index of %llu bytes", (unsigned long long)index->size);
	return repository_pread(s->repository, index, descriptor, DESCRIPTOR_SIZE,
				index->size - DESCRIPTOR_SIZE, e);
}

static int sealed_read_index(struct source *source, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct sealed_source *s = (struct sealed_source *)source;

	return repository_pread(s->repository, index_blob(s), to, n, offset, e);
}

/* How many of `places` follow one another in one blob; *size is their bytes. */
static size_t run_of(const struct chunk_place *places, size_t n, size_t *size)
{
	const struct chunk_entry *first = &places[0].entry;
	size_t i = 0;

	*size = 0;
	while (i < n && places[i].entry.blob == first->blob &&
	       places[i].entry.offset == first->offset + *size &&
	       (i == 0 || *size + places[i].entry.stored_size <= RUN_MAX)) {
		*size += places[i].entry.stored_size;
		i++;
	}
	return i;
}

static int read_run(struct sealed_source *s, const struct chunk_entry *first, void *to, size_t size,
		    struct err *e)
{
	if (!to)
		return err_set(e, -ENOMEM, "out of memory");
	if (first->blob >= s->manifest.n_layers)
		return err_set(e, -EINVAL, "no blob %u", first->blob);
	return repository_pread(s->repository, &s->manifest.layers[first->blob], to, size, first->offset, e);
}

static int sealed_read_chunks(struct source *source, const struct chunk_place *places, size_t n, bool ahead,
			      chunk_arrival *arrival, void *arg, struct err *e)
{
	struct sealed_source *s = (struct sealed_source *)source;

	(void)ahead;
	for (size_t i = 0, count; i < n; i += count) {
		cleanup_free uint8_t *stored = NULL;
		size_t size, at = 0;
		int r;

		count = run_of(places + i, n - i, &size);
		stored = malloc(size);
		r = read_run(s, &places[i].entry, stored, size, e);
		/* nothing has arrived yet: the words can go along */
		if (r < 0 && i == 0)
			return r;
		for (size_t j = i; j < i + count; j++) {
			arrival(arg, j, r < 0 ? NULL : stored + at, r);
			at += places[j].entry.stored_size;
		}
	}
	return 0;
}

static void sealed_close(struct source *source)
{
	struct sealed_source *s = (struct sealed_source *)source;

	oci_manifest_deinit(&s->manifest);
	buf_deinit(&s->json);
	repository_close(s->repository);
	free(s);
}

static const struct source_ops ops = {
	.open = sealed_open,
	.read_index = sealed_read_index,
	.read_chunks = sealed_read_chunks,
	.close = sealed_close,
};

int sealed_source_open(struct source **out, const struct reference *ref, const struct oci_platform *platform,
		       const struct remote *remote, struct err *e)
{
	struct sealed_source *s = calloc(1, sizeof(*s));
	struct digest digest;
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->source.ops = &ops;
	buf_init(&s->json, OCI_MAX_DOCUMENT);
	r = repository_open(&s->repository, ref, remote, e);
	if (r == 0)
		r = repository_manifest(s->repository, platform, &s->json, &digest, &s->manifest, e);
	if (r == 0 && !s->manifest.sealed)
		r = err_set(e, -ENOTSUP, "the image is not sealed");
	if (r < 0) {
		sealed_close(&s->source);
		return r;
	}
	*out = &s->source;
	return 0;
}
