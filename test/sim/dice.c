/* SPDX-License-Identifier: Apache-2.0
 * All randomness comes from the seed (splitmix64, one stream for each kind of decision), and all that
 * happens goes into one running SHA-256. */
#include "sim.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t streams[N_STREAMS];

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void dice_init(uint64_t seed)
{
	for (unsigned int s = 0; s < N_STREAMS; s++)
		streams[s] = mix(seed * N_STREAMS + s + 0x9e3779b97f4a7c15u);
}

uint64_t dice(enum stream s)
{
	streams[s] += 0x9e3779b97f4a7c15u;
	return mix(streams[s]);
}

uint32_t dice_below(enum stream s, uint32_t n)
{
	return n ? (uint32_t)((dice(s) >> 32) * n >> 32) : 0;
}

int64_t dice_range(enum stream s, int64_t from, int64_t to)
{
	return to <= from ? from : from + (int64_t)(dice(s) % (uint64_t)(to - from));
}

bool dice_chance(enum stream s, uint32_t per_mille)
{
	return per_mille > 0 && dice_below(s, 1000) < per_mille;
}

static struct {
	EVP_MD_CTX *hash;
	uint8_t pending[4096];
	size_t n;
	bool print;
} the_trace;

static void flush(void)
{
	if (EVP_DigestUpdate(the_trace.hash, the_trace.pending, the_trace.n) != 1)
		abort();
	the_trace.n = 0;
}

void trace_init(bool print)
{
	if (!the_trace.hash)
		the_trace.hash = EVP_MD_CTX_new();
	if (!the_trace.hash || EVP_DigestInit_ex2(the_trace.hash, EVP_sha256(), NULL) != 1)
		abort();
	the_trace.n = 0;
	the_trace.print = print;
}

void trace_bytes(const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n > 0) {
		size_t part = sizeof(the_trace.pending) - the_trace.n;

		if (part > n)
			part = n;
		memcpy(the_trace.pending + the_trace.n, from, part);
		the_trace.n += part;
		from += part;
		n -= part;
		if (the_trace.n == sizeof(the_trace.pending))
			flush();
	}
}

void trace(const char *what, int64_t a, int64_t b)
{
	int64_t numbers[3] = {sim_now(), a, b};

	if (the_trace.print)
		printf("%12lld.%06lld  %-24s %lld %lld\n", (long long)(numbers[0] / SECOND),
		       (long long)(numbers[0] % SECOND / US), what, (long long)a, (long long)b);
	trace_bytes(what, strlen(what) + 1);
	trace_bytes(numbers, sizeof(numbers));
}

void trace_words(const char *words)
{
	if (the_trace.print)
		printf("%21s%s\n", "", words);
	trace_bytes(words, strlen(words) + 1);
}

void trace_end(char hex[static 65])
{
	uint8_t digest[32];

	flush();
	if (EVP_DigestFinal_ex(the_trace.hash, digest, NULL) != 1)
		abort();
	for (int i = 0; i < 32; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
}
