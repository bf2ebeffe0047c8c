/* SPDX-License-Identifier: Apache-2.0
 * The cache on disk: what is put comes back, what is damaged does not, and a kill at any moment hurts
 * nothing. */
#include "chunkstore/chunk_cache.h"
#include "../scratch.h"
#include "crypto/sha256.h"
#include "proto/base/bytes.h"
#include "proto/base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SIZE 1000u

static struct chunk_cache *cache;

static void open_cache(uint64_t max)
{
	struct err e;

	cr_assert_eq(chunk_cache_open(&cache, scratch_path("c"), max, &e), 0, "%s", e.text);
}

static void open_all(void)
{
	scratch_open();
	open_cache(0);
}

static void close_all(void)
{
	chunk_cache_close(cache);
	scratch_close();
}

TestSuite(chunk_cache, .init = open_all, .fini = close_all, .timeout = 60);

static void reopen(uint64_t max)
{
	chunk_cache_close(cache);
	open_cache(max);
}

/* Chunk number n: its bytes and name. */
static void make(uint32_t n, uint8_t p[static SIZE], struct digest *id)
{
	memset(p, (int)n, SIZE);
	put_le32(p, n);
	(void)sha256(id, p, SIZE);
}

static void put(uint32_t n)
{
	uint8_t p[SIZE];
	struct digest id;

	make(n, p, &id);
	cr_assert_eq(chunk_cache_put(cache, &id, p, SIZE), 0);
}

/* Whether chunk n is there; and what is there is right. */
static bool there(uint32_t n)
{
	uint8_t p[SIZE], got[SIZE];
	struct digest id;
	int fd, r;

	make(n, p, &id);
	r = chunk_cache_get(cache, &id, SIZE, &fd);
	cr_assert_geq(r, 0);
	if (r == CHUNK_MISS)
		return false;
	cr_assert_eq(pread_full(fd, got, SIZE, 0), 0);
	cr_assert_eq(memcmp(p, got, SIZE), 0);
	(void)close(fd);
	return true;
}

static const char *path_of(uint32_t n)
{
	char hex[DIGEST_HEX_SIZE], name[128];
	uint8_t p[SIZE];
	struct digest id;

	make(n, p, &id);
	(void)digest_hex(&id, hex);
	(void)snprintf(name, sizeof(name), "c/%.2s/%s", hex, hex);
	return scratch_path(name);
}

Test(chunk_cache, gives_what_was_put)
{
	struct chunk_cache_stats s;

	cr_assert_not(there(1));
	put(1);
	cr_assert(there(1));
	put(1);
	chunk_cache_stats(cache, &s);
	cr_assert_eq(s.chunks, 1);
	cr_assert_eq(s.bytes, SIZE);
	cr_assert_eq(s.puts, 1);
	cr_assert_eq(s.hits, 1);
	cr_assert_eq(s.misses, 1);
}

Test(chunk_cache, refuses_bytes_of_another_chunk)
{
	uint8_t p[SIZE];
	struct digest id;

	make(1, p, &id);
	p[5] ^= 1;
	cr_assert_eq(chunk_cache_put(cache, &id, p, SIZE), -EBADMSG);
	cr_assert_eq(chunk_cache_put(cache, &id, p, SIZE - 1), -EBADMSG);
	cr_assert_not(chunk_cache_has(cache, &id));
}

Test(chunk_cache, misses_a_chunk_of_another_size)
{
	uint8_t p[SIZE];
	struct digest id;
	int fd;

	put(1);
	make(1, p, &id);
	cr_assert_eq(chunk_cache_get(cache, &id, SIZE - 1, &fd), CHUNK_MISS);
	cr_assert(there(1));
}

Test(chunk_cache, outlives_a_restart)
{
	for (uint32_t n = 0; n < 100; n++)
		put(n);
	reopen(0);
	for (uint32_t n = 0; n < 100; n++)
		cr_assert(there(n));
}

Test(chunk_cache, drops_what_was_used_least_recently)
{
	struct chunk_cache_stats s;

	reopen(10 * SIZE);
	for (uint32_t n = 0; n < 10; n++)
		put(n);
	cr_assert(there(0)); /* used: 1 is the oldest now */
	put(10);
	cr_assert(there(0));
	cr_assert_not(there(1));
	cr_assert(there(10));
	chunk_cache_stats(cache, &s);
	cr_assert_eq(s.evictions, 1);
	cr_assert_eq(s.bytes, 10 * SIZE);
	reopen(3 * SIZE);
	chunk_cache_stats(cache, &s);
	cr_assert_eq(s.chunks, 3);
	cr_assert(there(10));
}

Test(chunk_cache, does_not_disturb_who_holds_a_descriptor)
{
	uint8_t p[SIZE], got[SIZE];
	struct digest id;
	int fd;

	reopen(2 * SIZE);
	put(1);
	make(1, p, &id);
	cr_assert_eq(chunk_cache_get(cache, &id, SIZE, &fd), 0);
	put(2);
	put(3);
	cr_assert_not(there(1));
	cr_assert_eq(pread_full(fd, got, SIZE, 0), 0);
	cr_assert_eq(memcmp(p, got, SIZE), 0);
	(void)close(fd);
}

Test(chunk_cache, drops_a_file_that_was_cut)
{
	struct chunk_cache_stats s;

	put(1);
	cr_assert_eq(truncate(path_of(1), SIZE - 1), 0);
	cr_assert_not(there(1));
	cr_assert_neq(access(path_of(1), F_OK), 0);
	chunk_cache_stats(cache, &s);
	cr_assert_eq(s.damaged, 1);
	cr_assert_eq(s.bytes, 0);
	put(1);
	cr_assert(there(1));
}

Test(chunk_cache, drops_a_file_that_changed_while_we_were_away)
{
	int fd;

	put(1);
	put(2);
	chunk_cache_close(cache);
	fd = open(path_of(1), O_WRONLY);
	cr_assert_eq(pwrite(fd, "?", 1, 500), 1);
	(void)close(fd);
	open_cache(0);
	cr_assert_not(there(1));
	cr_assert(there(2));
}

/* It was known by its short length, so nobody ever proved it, and it could not be put again. */
Test(chunk_cache, drops_a_file_that_was_cut_while_we_were_away)
{
	struct chunk_cache_stats s;
	uint8_t p[SIZE];
	struct digest id;
	int fd;

	put(1);
	put(2);
	chunk_cache_close(cache);
	cr_assert_eq(truncate(path_of(1), SIZE - 1), 0);
	open_cache(0);
	cr_assert_not(there(1));
	make(1, p, &id);
	cr_assert_not(chunk_cache_has(cache, &id));
	/* whoever asks for the wrong size of a sound one drops nothing */
	make(2, p, &id);
	cr_assert_eq(chunk_cache_get(cache, &id, SIZE - 1, &fd), CHUNK_MISS);
	cr_assert(there(2));
	chunk_cache_stats(cache, &s);
	cr_assert_eq(s.damaged, 1);
	put(1);
	cr_assert(there(1));
}

Test(chunk_cache, drops_a_file_that_vanished)
{
	put(1);
	cr_assert_eq(unlink(path_of(1)), 0);
	cr_assert_not(there(1));
}

Test(chunk_cache, sweeps_what_is_no_chunk)
{
	const char *const names[] = {"c/tmp/7", "c/00/junk", "c/01/zz"};

	chunk_cache_close(cache);
	for (size_t i = 0; i < 3; i++) {
		int fd = open(scratch_path(names[i]), O_WRONLY | O_CREAT, 0600);

		cr_assert_geq(fd, 0);
		(void)close(fd);
	}
	open_cache(0);
	for (size_t i = 0; i < 3; i++)
		cr_assert_neq(access(scratch_path(names[i]), F_OK), 0);
}

Test(chunk_cache, belongs_to_one_process)
{
	struct chunk_cache *second;
	struct err e;

	cr_assert_eq(chunk_cache_open(&second, scratch_path("c"), 0, &e), -EBUSY);
}

/* A child puts chunks until it is killed; whatever is found then is whole. */
Test(chunk_cache, survives_a_kill_at_any_moment)
{
	chunk_cache_close(cache);
	for (unsigned round = 0; round < 10; round++) {
		pid_t child = fork();
		int status;

		cr_assert_geq(child, 0);
		if (child == 0) {
			struct err e;

			if (chunk_cache_open(&cache, scratch_path("c"), 50 * SIZE, &e) < 0)
				_exit(3);
			for (uint32_t n = 0;; n++) {
				uint8_t p[SIZE];
				struct digest id;

				make(n % 500, p, &id);
				if (chunk_cache_put(cache, &id, p, SIZE) < 0)
					_exit(4);
			}
		}
		(void)usleep(20000 + round * 3000);
		(void)kill(child, SIGKILL);
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert(WIFSIGNALED(status));
		open_cache(50 * SIZE);
		for (uint32_t n = 0; n < 500; n++)
			(void)there(n);
		chunk_cache_close(cache);
	}
	open_cache(0);
}

static void *hammer(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 2000; i++) {
		uint32_t n = (uint32_t)rand_r(&seed) % 100;

		if (rand_r(&seed) % 2)
			put(n);
		else
			(void)there(n);
	}
	return NULL;
}

Test(chunk_cache, serves_many_threads)
{
	struct chunk_cache_stats s;
	pthread_t threads[4];

	reopen(40 * SIZE);
	for (uintptr_t i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	chunk_cache_stats(cache, &s);
	cr_assert_leq(s.bytes, 40 * SIZE);
	cr_assert_eq(s.chunks * SIZE, s.bytes);
}
