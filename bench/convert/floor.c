/* SPDX-License-Identifier: Apache-2.0
 * floor: what a conversion cannot do without, each step in a bare loop over all bytes on one processor:
 * gunzip, SHA-256 of what was stored and of the tar, zstd at level 7 (the default) in pieces of 256 KiB, and
 * for what that makes SHA-256 (for the key), AES-256-GCM and SHA-256 twice (for chunk and blob). One line of
 * seconds, best of three: NAME,tar bytes,gunzip,SHA-256 of the source,zstd,sealing. */
#include <isa-l.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zstd.h>

#define PIECE (256u << 10)
#define LEVEL 7
#define ROUNDS 3

enum step { GUNZIP, SOURCE_HASHES, ZSTD, SEALING, N_STEPS };

struct run {
	uint8_t *stored, *tar, *packed;
	size_t stored_size, tar_size, packed_size;
	double seconds[N_STEPS];
};

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
	(void)fprintf(stderr, "floor: %s\n", what);
	exit(1);
}

static void load(struct run *r, const char *path)
{
	FILE *f = fopen(path, "re");
	long size;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0)
		fail(path);
	rewind(f);
	r->stored_size = (size_t)size;
	r->stored = malloc(r->stored_size + 1);
	if (!r->stored || fread(r->stored, 1, r->stored_size, f) != r->stored_size)
		fail(path);
	(void)fclose(f);
}

/* Into `to`, or when it is NULL over and over into one piece; the bytes that came. */
static size_t inflate_all(const struct run *r, uint8_t *to)
{
	static uint8_t window[PIECE];
	struct inflate_state s;
	size_t made = 0;

	isal_inflate_init(&s);
	s.crc_flag = ISAL_GZIP;
	s.next_in = r->stored;
	s.avail_in = (uint32_t)r->stored_size;
	do {
		s.next_out = to ? to + made : window;
		s.avail_out = PIECE;
		if (isal_inflate(&s) != ISAL_DECOMP_OK)
			fail("not one gzip member");
		made += PIECE - s.avail_out;
	} while (s.block_state != ISAL_BLOCK_FINISH);
	return made;
}

static void hash(const uint8_t *p, size_t n)
{
	static EVP_MD *md;
	uint8_t digest[32];

	if (!md)
		md = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (EVP_Digest(p, n, digest, NULL, md, NULL) != 1)
		fail("SHA-256");
}

static void pack(struct run *r, ZSTD_CCtx *zstd)
{
	r->packed_size = 0;
	for (size_t at = 0; at < r->tar_size; at += PIECE) {
		size_t n = r->tar_size - at < PIECE ? r->tar_size - at : PIECE;

		r->packed_size += ZSTD_compressCCtx(zstd, r->packed + r->packed_size, ZSTD_compressBound(n),
						    r->tar + at, n, LEVEL);
	}
}

static void seal(struct run *r, EVP_CIPHER_CTX *ctx, const EVP_CIPHER *gcm)
{
	static const uint8_t key[32], nonce[12];
	uint8_t out[PIECE];
	int done;

	for (size_t at = 0; at < r->packed_size; at += sizeof(out)) {
		size_t n = r->packed_size - at < sizeof(out) ? r->packed_size - at : sizeof(out);

		for (int i = 0; i < 3; i++)
			hash(r->packed + at, n);
		if (EVP_EncryptInit_ex2(ctx, gcm, key, nonce, NULL) != 1 ||
		    EVP_EncryptUpdate(ctx, out, &done, r->packed + at, (int)n) != 1 ||
		    EVP_EncryptFinal_ex(ctx, out + done, &done) != 1)
			fail("AES-256-GCM");
	}
}

static void best(double *seconds, double start)
{
	double spent = now() - start;

	if (*seconds == 0 || spent < *seconds)
		*seconds = spent;
}

/* One layer: adds its seconds to `total`. */
static size_t measure(const char *path, double total[N_STEPS])
{
	EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	struct run r = {0};

	load(&r, path);
	r.tar_size = inflate_all(&r, NULL);
	r.tar = malloc(r.tar_size + PIECE);
	r.packed = malloc(r.tar_size + r.tar_size / 8 + PIECE);
	if (!gcm || !ctx || !zstd || !r.tar || !r.packed)
		fail("out of memory");
	(void)inflate_all(&r, r.tar);
	for (int i = 0; i < ROUNDS; i++) {
		double start = now();

		(void)inflate_all(&r, NULL);
		best(&r.seconds[GUNZIP], start);
		start = now();
		hash(r.stored, r.stored_size);
		hash(r.tar, r.tar_size);
		best(&r.seconds[SOURCE_HASHES], start);
		start = now();
		pack(&r, zstd);
		best(&r.seconds[ZSTD], start);
		start = now();
		seal(&r, ctx, gcm);
		best(&r.seconds[SEALING], start);
	}
	for (int i = 0; i < N_STEPS; i++)
		total[i] += r.seconds[i];
	(void)ZSTD_freeCCtx(zstd);
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(gcm);
	free(r.stored);
	free(r.tar);
	free(r.packed);
	return r.tar_size;
}

int main(int argc, char **argv)
{
	double total[N_STEPS] = {0};
	size_t bytes = 0;

	if (argc < 3)
		fail("floor NAME LAYER.gz...");
	for (int i = 2; i < argc; i++)
		bytes += measure(argv[i], total);
	(void)printf("%s,%zu", argv[1], bytes);
	for (int i = 0; i < N_STEPS; i++)
		(void)printf(",%.3f", total[i]);
	(void)printf("\n");
	return 0;
}
