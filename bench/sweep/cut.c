/* SPDX-License-Identifier: Apache-2.0
 * cut: what one way of cutting and compressing makes of an image, with the publisher's own code as it was
 * compiled and the guest's own way of opening chunks. Prints: chunks, stored bytes, chunks and bytes that
 * hold the blocks of TOUCHED, microseconds to open what a random block needs and its stored bytes, per mille
 * of the bytes of UPDATED that IMAGE has, seconds and CPU seconds of cutting and sealing IMAGE (the best of
 * three).
 *
 *   cut LEVEL TOUCHED IMAGE UPDATED     TOUCHED: a block a line, counted from the end of the image */
#include "crypto/kdf.h"
#include "guestfs/chunk_open.h"
#include "proto/base/io.h"
#include "proto/format/format.h"
#include "publisher/blob_stream.h"
#include "publisher/image_source.h"
#include "publisher/layer_reader.h"
#include "publisher/sealed_layer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3
#define RANDOM_READS 4000

struct sealed {
	struct sealed_layer layers[MAX_BLOBS];
	int fds[MAX_BLOBS];
	uint32_t n;
	struct chunk_list all; /* of all layers, each once; .blob is the layer */
	uint64_t n_blocks;
	double seconds, cpu_seconds;
};

static struct err error;

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "cut: %s: %d %s\n", what, r, error.text);
	exit(1);
}

static double now(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int open_temp(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	check(fd, "temporary file");
	return fd;
}

static void seal_layer(struct sealed *s, uint32_t i, struct image_source *source, struct tree *tree,
		       struct seal_pool *pool, const struct secret *prk, const struct cutter *cutter)
{
	const struct oci_blob *blob = &image_source_manifest(source)->layers[i];
	struct layer_source from = {.read = blob_stream_read,
				    .media_type = blob->media_type,
				    .digest = blob->digest,
				    .size = blob->size,
				    .diff_id = image_source_config(source)->diff_ids[i]};
	struct blob_stream *stream;
	struct layer_stats stats;
	struct layer_sink *sink;

	s->fds[i] = open_temp();
	check(layer_sink_open(&sink, s->fds[i], pool, prk, cutter, &error), "sink");
	check(image_source_layer(source, i, &stream, &error), "layer");
	from.arg = stream;
	check(layer_apply(tree, i, &from, sink, &stats, &error), "layer");
	blob_stream_close(stream);
	check(layer_sink_finish(sink, &s->layers[i], &error), "sink");
	layer_sink_close(sink);
}

static void seal_image(struct sealed *s, const char *name, int level)
{
	const struct seal_options options = {.level = level, .padding = PADDING_PADME};
	double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	struct secret domain = {{1}}, prk; /* always the same: so are the cuts */
	struct oci_platform platform;
	struct remote remote = {0};
	struct image_source *source;
	struct seal_pool *pool;
	struct reference ref;
	struct cutter cutter;
	struct tree *tree;

	oci_platform_host(&platform);
	check(reference_parse(&ref, name, &error), name);
	check(image_source_open(&source, &ref, &platform, &remote, &error), name);
	check(kdf_prk(&prk, SALT_DOMAIN, &domain), "keys");
	check(cutter_init(&cutter, &prk), "keys");
	check(seal_pool_new(&pool, (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &options, &error), "threads");
	check(tree_new(&tree), "tree");
	s->n = image_source_manifest(source)->n_layers;
	for (uint32_t i = 0; i < s->n; i++)
		seal_layer(s, i, source, tree, pool, &prk, &cutter);
	s->seconds = now(CLOCK_MONOTONIC) - start;
	tree_free(tree);
	seal_pool_free(pool);
	image_source_close(source);
	s->cpu_seconds = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	for (uint32_t i = 0; i < s->n; i++) {
		const struct sealed_layer *l = &s->layers[i];
		uint32_t number;

		for (size_t k = 0; k < l->chunks.n; k++)
			check(chunk_list_add(&s->all, &l->chunks.records[k].chunk,
					     l->chunks.records[k].offset, i, &number),
			      "list");
		s->n_blocks += l->n_blocks;
	}
}

static void forget(struct sealed *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		sealed_layer_deinit(&s->layers[i]);
		(void)close(s->fds[i]);
	}
	chunk_list_deinit(&s->all);
	*s = (struct sealed){0};
}

static uint64_t stored_bytes(const struct chunk_list *l)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->records[i].chunk.stored_size;
	return n;
}

/* The chunk of every block, as a number in s->all. */
static uint32_t *block_map(struct sealed *s)
{
	uint32_t *map = calloc(s->n_blocks, sizeof(*map)), number;
	uint64_t block = 0;

	check(map ? 0 : -1, "memory");
	for (uint32_t i = 0; i < s->n; i++) {
		const struct sealed_layer *l = &s->layers[i];

		for (size_t k = 0; k < l->n_extents; k++) {
			const struct chunk_record *r = &l->chunks.records[l->extents[k]];

			check(chunk_list_add(&s->all, &r->chunk, 0, 0, &number), "list");
			for (uint32_t n = r->chunk.plain_size / BLOCK_SIZE; n > 0; n--)
				map[block++] = number;
		}
	}
	return map;
}

static void print_touched(const struct sealed *s, const uint32_t *map, const char *path)
{
	uint8_t *seen = calloc(s->all.n, 1);
	FILE *f = fopen(path, "re");
	unsigned long long from_end;
	uint64_t n = 0, bytes = 0;

	check(f && seen ? 0 : -1, path);
	while (fscanf(f, "%llu", &from_end) == 1) {
		uint32_t chunk;

		if (from_end == 0 || from_end > s->n_blocks)
			continue; /* metadata */
		chunk = map[s->n_blocks - from_end];
		if (!seen[chunk]++) {
			n++;
			bytes += s->all.records[chunk].chunk.stored_size;
		}
	}
	(void)printf(",%llu,%llu", (unsigned long long)n, (unsigned long long)bytes);
	(void)fclose(f);
	free(seen);
}

/* Blocks all over the image; from the page cache, so that opening is what is measured. */
static void print_random(const struct sealed *s, const uint32_t *map)
{
	uint8_t *stored = malloc(MAX_STORED_SIZE), *plain = malloc(MAX_CHUNK_SIZE);
	double best = 0, bytes = 0;
	struct opener *o;

	check(opener_new(&o), "opener");
	for (int round = 0; round < ROUNDS; round++) {
		double start = now(CLOCK_THREAD_CPUTIME_ID), spent;
		uint64_t random = 1;

		bytes = 0;
		for (int i = 0; i < RANDOM_READS; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			const struct chunk_record *r = &s->all.records[map[(random >> 20) % s->n_blocks]];
			struct chunk_entry entry = {.id = r->chunk.id, .stored_size = r->chunk.stored_size};
			struct chunk_expect expect = {&entry, &r->chunk.key, r->chunk.plain_size,
						      MAX_CHUNK_SIZE};
			uint32_t size;

			check(pread_full(s->fds[r->blob], stored, entry.stored_size, r->offset), "read");
			check(chunk_open(o, plain, &size, &expect, stored, entry.stored_size, &error),
			      "open");
			bytes += entry.stored_size;
		}
		spent = now(CLOCK_THREAD_CPUTIME_ID) - start;
		if (round == 0 || spent < best)
			best = spent;
	}
	(void)printf(",%.0f,%.0f", best / RANDOM_READS * 1e6, bytes / RANDOM_READS);
	opener_free(o);
	free(stored);
	free(plain);
}

static void print_shared(const struct sealed *base, int level, const char *updated)
{
	struct sealed s = {0};
	uint64_t shared = 0, all;

	seal_image(&s, updated, level);
	all = stored_bytes(&s.all);
	for (size_t i = 0; i < s.all.n; i++)
		for (size_t k = 0; k < base->all.n; k++)
			if (digest_equal(&s.all.records[i].chunk.id, &base->all.records[k].chunk.id))
				shared += s.all.records[i].chunk.stored_size;
	(void)printf(",%llu", (unsigned long long)(shared * 1000 / all));
	forget(&s);
}

int main(int argc, char **argv)
{
	double seconds = 0, cpu = 0;
	struct sealed s = {0};
	uint32_t *map;
	int level;

	if (argc != 5)
		check(-1, "cut LEVEL TOUCHED IMAGE UPDATED");
	level = atoi(argv[1]);
	for (int round = 0; round < ROUNDS; round++) {
		forget(&s);
		seal_image(&s, argv[3], level);
		if (round == 0 || s.seconds < seconds)
			seconds = s.seconds;
		if (round == 0 || s.cpu_seconds < cpu)
			cpu = s.cpu_seconds;
	}
	(void)printf("%zu,%llu", s.all.n, (unsigned long long)stored_bytes(&s.all));
	map = block_map(&s);
	print_touched(&s, map, argv[2]);
	print_random(&s, map);
	print_shared(&s, level, argv[4]);
	(void)printf(",%.2f,%.2f\n", seconds, cpu);
	free(map);
	forget(&s);
	return 0;
}
