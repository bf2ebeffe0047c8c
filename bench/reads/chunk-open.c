/* SPDX-License-Identifier: Apache-2.0
 * chunk-open FILE THREADS…: what opening the chunks of a file costs at least. FILE is cut as the publisher
 * cuts a large file and sealed in memory; then so many threads open all of it, once with chunk_open() and
 * once with the three calls that it cannot do without: SHA-256, AES-GCM, zstd. Prints
 * "NAME-THREADS PLAIN-BYTES STORED-BYTES SECONDS" for each. */
#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/sha256.h"
#include "guestfs/chunk_open.h"
#include "proto/format/chunk_header.h"
#include "publisher/chunk_seal.h"
#include "publisher/cutter.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#define LEVEL 3 /* `cocoon convert`'s */
#define TAIL 64u
#define THREADS_MAX 256u

struct stored {
	struct sealed_chunk x;
	uint8_t *bytes;
};

struct sealed_file {
	struct stored *chunks;
	size_t n;
	uint64_t plain_bytes, stored_bytes;
};

struct run {
	const struct sealed_file *file;
	bool bare;
	atomic_size_t next;
	atomic_bool failed;
	pthread_barrier_t start;
};

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t chunk_end(const struct cutter *c, const uint8_t *p, size_t left)
{
	size_t n = 0;

	do
		n += left - n < BLOCK_SIZE ? left - n : BLOCK_SIZE;
	while (n < left && n % BLOCK_SIZE == 0 && n < CUT_MAX && !cut_after_block(c, p + n - TAIL, TAIL, n));
	return n;
}

static int seal(struct sealed_file *f, const uint8_t *p, size_t size)
{
	struct seal_options options = {.level = LEVEL, .padding = PADDING_PADME};
	struct secret secret = {{1}}, prk;
	struct chunk_sealer *sealer;
	struct cutter cutter;

	f->chunks = calloc(size / CUT_MIN + 1, sizeof(*f->chunks));
	if (!f->chunks || kdf_prk(&prk, SALT_DOMAIN, &secret) < 0 || cutter_init(&cutter, &prk) < 0 ||
	    chunk_sealer_new(&sealer, &options) < 0)
		return -1;
	for (size_t at = 0; at < size;) {
		size_t n = chunk_end(&cutter, p + at, size - at);
		struct stored *s = &f->chunks[f->n++];
		const uint8_t *stored;

		if (chunk_seal(sealer, &prk, p + at, n, &s->x, &stored) < 0)
			return -1;
		s->bytes = malloc(s->x.stored_size);
		if (!s->bytes)
			return -1;
		memcpy(s->bytes, stored, s->x.stored_size);
		f->plain_bytes += n;
		f->stored_bytes += s->x.stored_size;
		at += n;
	}
	chunk_sealer_free(sealer);
	return 0;
}

/* No check but the two that the calls make themselves. */
static int open_bare(struct aead *a, ZSTD_DCtx *zstd, uint8_t *m, uint8_t *plain, const struct stored *s)
{
	struct chunk_header h;
	struct digest id;
	const uint8_t *payload = m + CHUNK_HEADER_SIZE;

	if (sha256(&id, s->bytes, s->x.stored_size) < 0 || !digest_equal(&id, &s->x.id) ||
	    aead_open(a, m, s->bytes, s->x.stored_size, &s->x.key) < 0 ||
	    chunk_header_decode(&h, m, s->x.stored_size - AEAD_TAG_SIZE, MAX_CHUNK_SIZE, NULL) < 0)
		return -1;
	if (h.codec == CHUNK_CODEC_RAW)
		memcpy(plain, payload, h.plain_size);
	else if (ZSTD_decompressDCtx(zstd, plain, h.plain_size, payload, h.payload_size) != h.plain_size)
		return -1;
	return 0;
}

static int open_ours(struct opener *o, uint8_t *plain, const struct stored *s)
{
	struct chunk_entry entry = {.id = s->x.id, .stored_size = s->x.stored_size};
	uint32_t size;

	return chunk_open(o, plain, &size,
			  &(struct chunk_expect){&entry, &s->x.key, s->x.plain_size, MAX_CHUNK_SIZE},
			  s->bytes, s->x.stored_size, NULL);
}

static void *work(void *arg)
{
	struct run *r = arg;
	uint8_t *plain = calloc(1, MAX_CHUNK_SIZE), *m = calloc(1, MAX_CHUNK_SIZE * 2);
	ZSTD_DCtx *zstd = ZSTD_createDCtx();
	struct opener *opener = NULL;
	struct aead *aead = NULL;
	bool ready = plain && m && zstd && opener_new(&opener) == 0 && aead_new(&aead) == 0;
	size_t k;

	(void)pthread_barrier_wait(&r->start);
	while (ready && (k = atomic_fetch_add(&r->next, 1)) < r->file->n)
		ready = (r->bare ? open_bare(aead, zstd, m, plain, &r->file->chunks[k])
				 : open_ours(opener, plain, &r->file->chunks[k])) == 0;
	if (!ready)
		atomic_store(&r->failed, true);
	(void)pthread_barrier_wait(&r->start);
	opener_free(opener);
	aead_free(aead);
	ZSTD_freeDCtx(zstd);
	free(plain);
	free(m);
	return NULL;
}

static int measure(const struct sealed_file *f, unsigned int n_threads, bool bare)
{
	struct run r = {.file = f, .bare = bare};
	pthread_t threads[THREADS_MAX];
	double start;

	if (pthread_barrier_init(&r.start, NULL, n_threads + 1) != 0)
		return -1;
	for (unsigned int k = 0; k < n_threads; k++)
		if (pthread_create(&threads[k], NULL, work, &r) != 0)
			return -1;
	start = seconds(); /* here: behind the barrier, this thread may be the last that gets a processor */
	(void)pthread_barrier_wait(&r.start);
	(void)pthread_barrier_wait(&r.start);
	(void)printf("%s-%u %llu %llu %.6f\n", bare ? "bare" : "chunk_open", n_threads,
		     (unsigned long long)f->plain_bytes, (unsigned long long)f->stored_bytes,
		     seconds() - start);
	for (unsigned int k = 0; k < n_threads; k++)
		(void)pthread_join(threads[k], NULL);
	(void)pthread_barrier_destroy(&r.start);
	return atomic_load(&r.failed) ? -1 : 0;
}

int main(int argc, char **argv)
{
	int fd = argc > 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct sealed_file f = {0};
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 2;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED || seal(&f, p, (size_t)st.st_size) < 0)
		return 1;
	for (int k = 2; k < argc; k++) {
		unsigned int n = (unsigned int)atoi(argv[k]);

		if (n == 0 || n > THREADS_MAX || measure(&f, n, true) < 0 || measure(&f, n, false) < 0)
			return 1;
	}
	return 0;
}
