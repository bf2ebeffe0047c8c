/* SPDX-License-Identifier: Apache-2.0
 * A layer as a registry may send it: the first byte chooses the compression, the rest is what is stored. It
 * is applied twice, as two layers, and what became of it is written as EROFS. */
#include "publisher/layer_reader.h"
#include "crypto/sha256.h"
#include "publisher/erofs_writer.h"
#include "test/fuzz/fuzz.h"

#include <string.h>

struct layer_sink {
	uint64_t at, end;
};

int layer_sink_begin(struct layer_sink *s, uint64_t size, uint64_t *first_block, struct err *e)
{
	(void)e;
	fuzz_assert(size > 0 && s->at == s->end);
	*first_block = s->at / BLOCK_SIZE;
	s->end = s->at + size;
	return 0;
}

int layer_sink_write(struct layer_sink *s, const void *p, size_t n, struct err *e)
{
	(void)p;
	(void)e;
	s->at += n;
	return 0;
}

int layer_sink_end(struct layer_sink *s, struct err *e)
{
	(void)e;
	fuzz_assert(s->at == s->end);
	s->at = s->end = (s->at + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	return 0;
}

struct input {
	const uint8_t *p;
	size_t left;
};

static int read_input(void *arg, void *buf, size_t room, size_t *n, struct err *e)
{
	struct input *in = arg;

	(void)e;
	*n = in->left < room ? in->left : room;
	memcpy(buf, in->p, *n);
	in->p += *n;
	in->left -= *n;
	return 0;
}

static int count(void *arg, const void *p, size_t n, struct err *e)
{
	(void)p;
	(void)e;
	*(uint64_t *)arg += n;
	return 0;
}

/* Make the checksum of every block that looks like a header right. */
static void repair(uint8_t *p, size_t size)
{
	for (; size >= 512; p += 512, size -= 512) {
		unsigned sum = 0;

		if (memcmp(p + 257, "ustar", 5))
			continue;
		memset(p + 148, ' ', 8);
		for (int i = 0; i < 512; i++)
			sum += p[i];
		for (int i = 5; i >= 0; i--, sum >>= 3)
			p[148 + i] = (uint8_t)('0' + (sum & 7));
	}
}

static void try_layer(const char *type, const uint8_t *data, size_t size)
{
	static const uint8_t uuid[16];
	cleanup_tree struct tree *t = NULL;
	struct layer_stats stats;
	struct erofs_plan plan;
	uint64_t blocks[2] = {0}, written = 0;
	bool plain = !strchr(type, '+');
	struct err e;
	int r = 0;

	fuzz_assert(tree_new(&t) == 0);
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		struct input in = {data, size};
		struct layer_source source = {read_input, &in, type, {{0}}, size, {{0}}};
		struct layer_sink sink = {0};

		fuzz_assert(sha256(&source.digest, data, size) == 0);
		source.diff_id = source.digest; /* true of a plain tar */
		r = layer_apply(t, i, &source, &sink, &stats, &e);
		blocks[i] = sink.at / BLOCK_SIZE;
		fuzz_assert(r != 0 || sink.at == sink.end);
	}
	/* A compressed tar that was read to its end has another diff ID; the tree is whole all the same. */
	if (r != 0 && (plain || r != -EBADMSG))
		return;
	if (erofs_plan(&plan, t, blocks, 2, uuid, &e) < 0)
		return;
	fuzz_assert(erofs_write(&plan, count, &written, &e) == 0);
	fuzz_assert(written == (uint64_t)plan.meta_blocks * BLOCK_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"application/vnd.oci.image.layer.v1.tar",
					    "application/vnd.oci.image.layer.v1.tar+gzip",
					    "application/vnd.oci.image.layer.v1.tar+zstd"};
	uint8_t *copy;

	if (size < 1 || data[0] > 3)
		return 0;
	copy = malloc(size);
	fuzz_assert(copy != NULL);
	memcpy(copy, data, size);
	if (data[0] == 3)
		repair(copy + 1, size - 1);
	try_layer(types[data[0] % 3], copy + 1, size - 1);
	free(copy);
	return 0;
}
