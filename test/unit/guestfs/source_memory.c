/* SPDX-License-Identifier: Apache-2.0 */
#include "source_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int tamper(struct source_memory *s, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	return s->tamper ? s->tamper(s->arg, where, offset, p, n) : 0;
}

static int memory_open(struct source *source, struct buf *manifest,
		       uint8_t descriptor[static DESCRIPTOR_SIZE], struct err *e)
{
	struct source_memory *s = (struct source_memory *)source;
	size_t n = strlen(s->image->manifest);
	int r;

	buf_put(manifest, s->image->manifest, n);
	if (buf_failed(manifest))
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(descriptor, s->image->descriptor, DESCRIPTOR_SIZE);
	r = tamper(s, IN_MANIFEST, 0, manifest->data, n);
	if (r == 0)
		r = tamper(s, IN_DESCRIPTOR, 0, descriptor, DESCRIPTOR_SIZE);
	return r < 0 ? err_set(e, r, "injected") : 0;
}

static int memory_read_index(struct source *source, void *to, size_t n, uint64_t offset, struct err *e)
{
	struct source_memory *s = (struct source_memory *)source;
	const struct blob *index = &s->image->blobs[s->image->n_blobs - 1];
	int r;

	atomic_fetch_add(&s->index_reads, 1);
	if (offset > index->size || n > index->size - offset)
		return err_set(e, -EINVAL, "index read past its end");
	memcpy(to, index->data + offset, n);
	r = tamper(s, IN_INDEX, offset, to, n);
	return r < 0 ? err_set(e, r, "injected") : 0;
}

static int memory_read_chunks(struct source *source, const struct chunk_place *places, size_t n, bool ahead,
			      chunk_arrival *arrival, void *arg, struct err *e)
{
	struct source_memory *s = (struct source_memory *)source;

	(void)ahead;
	(void)e;
	atomic_fetch_add(&s->chunk_reads, 1);
	if (s->delay_us)
		(void)usleep(s->delay_us);
	/* the last first: order is no promise */
	for (size_t k = n; k-- > 0;) {
		const struct chunk_entry *x = &places[k].entry;
		const struct blob *b = &s->image->blobs[x->blob];
		uint8_t *stored = malloc(x->stored_size);
		int r = stored ? -EIO : -ENOMEM;

		atomic_fetch_add(&s->chunks, 1);
		if (stored && x->offset <= b->size && x->stored_size <= b->size - x->offset) {
			memcpy(stored, b->data + x->offset, x->stored_size);
			r = tamper(s, IN_CHUNK, places[k].number, stored, x->stored_size);
		}
		arrival(arg, k, r < 0 ? NULL : stored, r);
		free(stored);
	}
	return 0;
}

static void memory_close(struct source *source)
{
	struct source_memory *s = (struct source_memory *)source;

	atomic_fetch_add(&s->closed, 1);
}

static const struct source_ops ops = {
	.open = memory_open,
	.read_index = memory_read_index,
	.read_chunks = memory_read_chunks,
	.close = memory_close,
};

void source_memory_init(struct source_memory *s, const struct sealed *image)
{
	*s = (struct source_memory){.source = {&ops}, .image = image};
}

int find_given_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		   const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	(void)manifest;
	(void)descriptor;
	(void)digest;
	(void)e;
	if (!arg)
		return -ENOKEY;
	memcpy(key->bytes, arg, SECRET_SIZE);
	return 0;
}
