/* SPDX-License-Identifier: Apache-2.0
 * Messages of the wire, encoded and decoded. */
#include "proto/wire/wire.h"

#include <errno.h>
#include <string.h>

static const uint8_t magic[8] = {'C', 'O', 'C', 'O', 'O', 'N', 'W', '1'};

int wire_header_decode(struct wire_header *out, const uint8_t raw[static WIRE_HEADER_SIZE], bool request,
		       struct err *e)
{
	uint32_t size = get_le32(raw);
	uint16_t type = get_le16(raw + 4), status = get_le16(raw + 6);
	uint64_t id = get_le64(raw + 8);

	if (size > WIRE_MAX_PAYLOAD)
		return err_set(e, -EPROTO, "frame of %u bytes", size);
	if (type < WIRE_HELLO || type > WIRE_CHUNKS)
		return err_set(e, -EPROTO, "frame of unknown type %u", type);
	if (status > WIRE_UNSUPPORTED || (request && status != WIRE_OK))
		return err_set(e, -EPROTO, "frame with status %u", status);
	if (id == 0)
		return err_set(e, -EPROTO, "frame with id 0");
	*out = (struct wire_header){size, (enum wire_type)type, (enum wire_status)status, id};
	return 0;
}

void wire_header_encode(const struct wire_header *h, uint8_t raw[static WIRE_HEADER_SIZE])
{
	put_le32(raw, h->size);
	put_le16(raw + 4, (uint16_t)h->type);
	put_le16(raw + 6, (uint16_t)h->status);
	put_le64(raw + 8, h->id);
}

static int check_magic(struct bytes *b, struct err *e)
{
	const uint8_t *m = bytes_take(b, sizeof(magic));
	uint32_t version = bytes_le32(b);

	if (!m || b->bad || memcmp(m, magic, sizeof(magic)) != 0)
		return err_set(e, -EPROTO, "the peer does not speak cocoon's wire");
	if (version != WIRE_VERSION)
		return err_set(e, -ENOTSUP, "wire version %u, this program speaks 1", version);
	return 0;
}

int wire_hello_decode(const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	int r = check_magic(&b, e);

	if (r < 0)
		return r;
	bytes_zero(&b, 4);
	if (!bytes_end(&b))
		return err_set(e, -EPROTO, "hello of %zu bytes", n);
	return 0;
}

void wire_hello_encode(struct buf *to)
{
	buf_put(to, magic, sizeof(magic));
	buf_le32(to, WIRE_VERSION);
	buf_zero(to, 4);
}

int wire_welcome_decode(uint32_t *max_open, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	int r = check_magic(&b, e);
	uint32_t max;

	if (r < 0)
		return r;
	max = bytes_le32(&b);
	if (!bytes_end(&b) || max < 1 || max > 65536)
		return err_set(e, -EPROTO, "answer to hello of %zu bytes, %u open requests", n, max);
	*max_open = max;
	return 0;
}

void wire_welcome_encode(struct buf *to, uint32_t max_open)
{
	buf_put(to, magic, sizeof(magic));
	buf_le32(to, WIRE_VERSION);
	buf_le32(to, max_open);
}

int wire_open_decode(const char **reference, size_t *length, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	uint32_t size = bytes_le32(&b);
	const uint8_t *name = bytes_take(&b, size);

	if (!bytes_end(&b) || !name || size == 0 || size > WIRE_MAX_REFERENCE || memchr(name, '\0', size))
		return err_set(e, -EPROTO, "open: reference of %u bytes in %zu", size, n);
	*reference = (const char *)name;
	*length = size;
	return 0;
}

void wire_open_encode(struct buf *to, const char *reference, size_t length)
{
	buf_le32(to, (uint32_t)length);
	buf_put(to, reference, length);
}

int wire_opened_decode(struct wire_opened *out, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	struct wire_opened o;

	o.handle = bytes_le32(&b);
	o.manifest_size = bytes_le32(&b);
	o.manifest = bytes_take(&b, o.manifest_size);
	o.descriptor = bytes_take(&b, DESCRIPTOR_SIZE);
	if (!bytes_end(&b) || o.manifest_size == 0 || o.manifest_size > MAX_MANIFEST_SIZE)
		return err_set(e, -EPROTO, "answer to open of %zu bytes, manifest of %u", n, o.manifest_size);
	*out = o;
	return 0;
}

void wire_opened_encode(struct buf *to, const struct wire_opened *o)
{
	buf_le32(to, o->handle);
	buf_le32(to, o->manifest_size);
	buf_put(to, o->manifest, o->manifest_size);
	buf_put(to, o->descriptor, DESCRIPTOR_SIZE);
}

int wire_index_decode(struct wire_index *out, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	struct wire_index q;

	q.handle = bytes_le32(&b);
	q.length = bytes_le32(&b);
	q.offset = bytes_le64(&b);
	if (!bytes_end(&b) || q.length == 0 || q.length > WIRE_MAX_INDEX_READ)
		return err_set(e, -EPROTO, "index: %u bytes asked in a request of %zu", q.length, n);
	*out = q;
	return 0;
}

void wire_index_encode(struct buf *to, const struct wire_index *q)
{
	buf_le32(to, q->handle);
	buf_le32(to, q->length);
	buf_le64(to, q->offset);
}

int wire_chunks_decode(struct wire_chunks *out, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	uint32_t handle = bytes_le32(&b), flags = bytes_le32(&b), n_runs = bytes_le32(&b);
	uint64_t total = 0;

	if (b.bad || flags > 1 || n_runs == 0 || n_runs > WIRE_MAX_RUNS)
		return err_set(e, -EPROTO, "chunks: %u ranges, flags %#x", n_runs, flags);
	for (uint32_t i = 0; i < n_runs; i++) {
		struct wire_run run;

		run.first = bytes_le32(&b);
		run.count = bytes_le32(&b);
		if (run.count == 0 || run.first > UINT32_MAX - run.count)
			return err_set(e, -EPROTO, "chunks: %u from %u", run.count, run.first);
		total += run.count;
		out->runs[i] = run;
	}
	if (!bytes_end(&b) || total > WIRE_MAX_CHUNKS)
		return err_set(e, -EPROTO, "chunks: %llu asked in a request of %zu bytes",
			       (unsigned long long)total, n);
	out->handle = handle;
	out->ahead = flags & 1;
	out->n_runs = n_runs;
	return 0;
}

void wire_chunks_encode(struct buf *to, const struct wire_chunks *q)
{
	buf_le32(to, q->handle);
	buf_le32(to, q->ahead ? 1 : 0);
	buf_le32(to, q->n_runs);
	for (uint32_t i = 0; i < q->n_runs; i++) {
		buf_le32(to, q->runs[i].first);
		buf_le32(to, q->runs[i].count);
	}
}

int wire_chunk_decode(uint32_t *number, const uint8_t **stored, size_t *stored_size, const uint8_t *p,
		      size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	uint32_t chunk = bytes_le32(&b);

	if (b.bad || b.left < MIN_STORED_SIZE || b.left > MAX_STORED_SIZE)
		return err_set(e, -EPROTO, "chunk answer of %zu bytes", n);
	*number = chunk;
	*stored = b.at;
	*stored_size = b.left;
	return 0;
}

void wire_failure_encode(struct buf *to, uint32_t chunk, const char *words)
{
	size_t n = strnlen(words, WIRE_MAX_WORDS);

	buf_le32(to, chunk);
	buf_put(to, words, n);
}

int wire_failure_decode(struct wire_failure *out, const uint8_t *p, size_t n, struct err *e)
{
	struct bytes b = bytes_of(p, n);
	uint32_t chunk = bytes_le32(&b);

	if (b.bad || b.left > WIRE_MAX_WORDS)
		return err_set(e, -EPROTO, "failure answer of %zu bytes", n);
	out->chunk = chunk;
	for (size_t i = 0; i < b.left; i++)
		out->words[i] = (b.at[i] < 0x20 || b.at[i] >= 0x7f) ? '?' : (char)b.at[i];
	out->words[b.left] = '\0';
	return 0;
}

int wire_status_errno(enum wire_status status)
{
	switch (status) {
	case WIRE_OK:
		return 0;
	case WIRE_NOT_FOUND:
		return -ENOENT;
	case WIRE_UNAVAILABLE:
	case WIRE_BUSY:
	case WIRE_INTERNAL:
		return -EAGAIN;
	case WIRE_DENIED:
		return -EACCES;
	case WIRE_INVALID:
		return -EPROTO;
	case WIRE_UNSUPPORTED:
		return -ENOTSUP;
	}
	return -EPROTO;
}
