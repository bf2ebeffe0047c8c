/* SPDX-License-Identifier: Apache-2.0
 * Every allocation and every call of OpenSSL on the way from sealed bytes to plaintext fails once: an error,
 * or what was asked for, and never a chunk that would be taken for a forged one. */
#include "crypto/aead.h"
#include "crypto/sha256.h"
#include "guestfs/image_internal.h"
#include "guestfs/page_arena.h"
#include "seal_fixture.h"
#include "source_memory.h"
#include "test/unit/fault.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (256u << 10)

static uint8_t plain[SIZE];
static struct sealed sealed;
static struct source_memory source;
static int processors = 2;

int __wrap_get_nprocs(void);
int __wrap_get_nprocs(void)
{
	return processors;
}

/* The cache's arena has no room. */
static atomic_bool arena_is_full;

void *__real_page_arena_take(struct page_arena *a, size_t n);
void *__wrap_page_arena_take(struct page_arena *a, size_t n);
void *__wrap_page_arena_take(struct page_arena *a, size_t n)
{
	return arena_is_full ? NULL : __real_page_arena_take(a, n);
}

/* The table answers no more. */
static atomic_bool table_fails;

int __real_table_entry(struct table *t, uint32_t number, struct chunk_entry *out, struct err *e);
int __wrap_table_entry(struct table *t, uint32_t number, struct chunk_entry *out, struct err *e);
int __wrap_table_entry(struct table *t, uint32_t number, struct chunk_entry *out, struct err *e)
{
	return table_fails ? err_set(e, -ETIMEDOUT, "no table") : __real_table_entry(t, number, out, e);
}

static void set_up(void)
{
	for (size_t i = 0; i < SIZE; i++)
		plain[i] = (uint8_t)("cocoon spins "[i % 13] + (int)(i >> 12));
	/* two blocks of chunk table */
	seal(&sealed, plain, SIZE, &(struct seal_options){.cut = 4096, .page_extents = 20, .startup = true});
	source_memory_init(&source, &sealed);
}

static void tear_down(void)
{
	seal_free(&sealed);
}

TestSuite(faults, .init = set_up, .fini = tear_down, .timeout = 300);

/* No memory, and no other excuse. */
static void check_failure(int r, const struct err *e)
{
	cr_assert(r == -ENOMEM || r == -EAGAIN, "%s: %d: %s", fault_name(), r, e->text);
	cr_assert_neq(e->text[0], '\0', "%s", fault_name());
}

static int try_open(struct image **out, struct err *e)
{
	*e = (struct err){""};
	return image_open(
		out, &source.source,
		&(struct image_options){.find_key = find_given_key, .find_key_arg = sealed.image_key}, e);
}

static struct image *must_open(void)
{
	struct image *i = NULL;
	struct err e;

	cr_assert_eq(try_open(&i, &e), 0, "%s", e.text);
	return i;
}

Test(faults, opening_an_image)
{
	struct image *i = NULL;
	struct err e;
	int r;

	/* what cannot be kept of the hash tree is fetched again, so an open may do without a block */
	each_fault (r, try_open(&i, &e)) {
		if (r == 0)
			image_close(i);
		else
			check_failure(r, &e);
	}
	cr_assert_eq(r, 0);
	image_close(i);
}

static int read_anew(struct image *i, uint8_t *got, uint64_t at, size_t n, struct err *e)
{
	*e = (struct err){""};
	memset(got, 0xee, n);
	return image_pread(i, got, n, at, e);
}

Test(faults, reading)
{
	static const uint8_t zero[50000];
	uint8_t got[50000];
	struct err e;
	int r;

	for (uint64_t at = 0; at + sizeof(got) <= SIZE; at += 70000) {
		struct image *i = must_open();

		each_fault (r, read_anew(i, got, at, sizeof(got), &e)) {
			if (r < 0)
				check_failure(r, &e);
			cr_assert_eq(memcmp(got, r < 0 ? zero : plain + at, sizeof(got)), 0, "%s",
				     fault_name());
		}
		cr_assert_eq(r, 0, "%s", e.text);
		cr_assert_eq(memcmp(got, plain + at, sizeof(got)), 0);
		image_close(i);
	}
}

static int verify_anew(struct image *i, struct err *e)
{
	*e = (struct err){""};
	return image_verify(i, NULL, NULL, e);
}

static int flip_second_block(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)arg;
	if (where == IN_INDEX && offset == 0 && n > 4096)
		p[4096] ^= 1;
	return 0;
}

Test(faults, reading_what_was_wrong_when_it_was_opened)
{
	uint8_t got[4096];
	struct image *i;
	struct err e;
	int r;

	source.tamper = flip_second_block;
	i = must_open();
	cr_assert_eq(read_anew(i, got, SIZE - sizeof(got), sizeof(got), &e), -EBADMSG);
	cr_assert_eq(verify_anew(i, &e), -EBADMSG);
	source.tamper = NULL;
	/* a neighbour that could not be checked is not kept, and that is all */
	each_fault (r, read_anew(i, got, SIZE - sizeof(got), sizeof(got), &e))
		if (r < 0)
			check_failure(r, &e);
	cr_assert_eq(r, 0, "%s", e.text);
	image_close(i);
}

static int warm(struct image *i)
{
	struct extent x[LOAD_MAX_CHUNKS];
	size_t n;

	/* it tells nobody whether it could */
	if (image_extents(i, 0, SIZE / BLOCK_SIZE, NULL, x, &n, NULL) == 0)
		image_warm(i, x, n);
	return 0;
}

Test(faults, warming)
{
	static uint8_t got[SIZE];
	struct image *i = must_open();
	int r;

	each_fault (r, warm(i))
		;
	cr_assert_eq(r, 0);
	cr_assert_eq(image_pread(i, got, SIZE, 0, NULL), 0);
	cr_assert_eq(memcmp(got, plain, SIZE), 0);
	image_close(i);
}

/* As other reads hold it that a host lets hang: a read is told, and nobody is about what he did not ask for.
 */
Test(faults, no_room_for_what_is_on_its_way)
{
	const struct extent all = {.chunk = UINT32_MAX, .plain_size = 1U << 30};
	struct extent x[LOAD_MAX_CHUNKS];
	struct image *i = must_open();
	uint8_t got[4096];
	size_t reserved, n;
	struct err e;

	i->timeout_ms = 100;
	cr_assert_eq(image_extents(i, 0, SIZE / BLOCK_SIZE, NULL, x, &n, NULL), 0);
	cr_assert_eq(plain_cache_reserve(i->cache, &all, 1, NULL, &reserved), 0);
	cr_assert_eq(read_anew(i, got, 0, sizeof(got), &e), -ETIMEDOUT);
	cr_assert_not_null(strstr(e.text, "hold the memory"), "%s", e.text);
	image_warm(i, x, n);
	plain_cache_unreserve(i->cache, reserved);
	cr_assert_eq(read_anew(i, got, 0, sizeof(got), &e), 0, "%s", e.text);
	image_close(i);
}

static int config_anew(struct image *i, struct buf *to, struct err *e)
{
	*e = (struct err){""};
	buf_deinit(to);
	return image_config(i, to, e);
}

Test(faults, config)
{
	cleanup_buf struct buf config = {.max = 100};
	struct image *i = must_open();
	struct err e;
	int r;

	each_fault (r, config_anew(i, &config, &e))
		check_failure(r, &e);
	cr_assert_eq(r, 0);
	cr_assert_eq(config.size, 2);
	config.max = 1;
	cr_assert_eq(config_anew(i, &config, &e), -ENOMEM, "no room for it");
	image_close(i);
}

Test(faults, verifying)
{
	struct err e;
	int r;

	/* also with more processors than there may be threads */
	for (processors = 1; processors < 100; processors += 49) {
		struct image *i = must_open();

		each_fault (r, verify_anew(i, &e))
			if (r < 0)
				check_failure(r, &e);
		cr_assert_eq(r, 0, "%s", e.text);
		/* again, with all that is kept in memory: no call is passed over */
		each_fault (r, verify_anew(i, &e))
			if (r < 0)
				check_failure(r, &e);
		cr_assert_eq(r, 0, "%s", e.text);
		image_close(i);
	}
}

static void table_ends_with_map(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	table_fails = done == total;
}

Test(faults, verifying_what_nothing_names)
{
	struct image *i;
	struct err e = {""};

	tear_down();
	seal(&sealed, plain, SIZE, &(struct seal_options){.unnamed = true});
	i = must_open();
	cr_assert_eq(image_verify(i, NULL, NULL, &e), 0, "%s", e.text);
	cr_assert_eq(image_verify(i, table_ends_with_map, NULL, &e), -ETIMEDOUT);
	image_close(i);
}

Test(faults, as_many_openers_as_processors)
{
	static const struct {
		int processors;
		int openers;
	} cases[] = {{1, 1}, {3, 3}, {OPENERS_MAX + 1, OPENERS_MAX}};

	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		struct opener_pool p;
		int r;

		processors = cases[k].processors;
		each_fault (r, opener_pool_init(&p))
			cr_assert_eq(r, -ENOMEM, "%s", fault_name());
		cr_assert_eq(r, 0);
		cr_assert_eq(p.n_idle, cases[k].openers);
		opener_pool_deinit(&p);
	}
	opener_free(NULL);
}

/* A chunk of 100 bytes, as it is stored. */
struct sample {
	uint8_t m[16 + 100], stored[16 + 100 + AEAD_TAG_SIZE];
	struct chunk_entry entry;
	struct secret key;
};

static int open_sample(struct opener *o, const struct sample *s, uint8_t got[static 100], struct err *e)
{
	uint32_t size;

	*e = (struct err){""};
	memset(got, 0, 100);
	return chunk_open(o, got, &size, &(struct chunk_expect){&s->entry, &s->key, 100, 4096}, s->stored,
			  s->entry.stored_size, e);
}

Test(faults, opening_a_chunk)
{
	static const uint8_t zero[100];
	struct sample s = {.m = {[4] = 100, [8] = 100, [16] = 1, 2, 3}, .key = {{7}}};
	struct opener *o;
	uint8_t got[100];
	struct err e;
	int r;

	seal_message(s.stored, s.m, sizeof(s.m), s.key.bytes);
	s.entry.stored_size = sizeof(s.stored);
	cr_assert_eq(sha256(&s.entry.id, s.stored, sizeof(s.stored)), 0);
	cr_assert_eq(opener_new(&o), 0);
	each_fault (r, open_sample(o, &s, got, &e)) {
		check_failure(r, &e);
		cr_assert_arr_eq(got, zero, sizeof(zero));
	}
	cr_assert_eq(r, 0, "%s", e.text);
	cr_assert_arr_eq(got, s.m + 16, sizeof(got));
	opener_free(o);
}

Test(faults, decoding)
{
	const struct descriptor d = {.n_chunks = 9, .max_chunk_size = 4096, .image_size = 4096};
	struct extent x[2] = {{.chunk = 1, .plain_size = EXTENT_SIZE}, {.chunk = 2, .plain_size = 2}};
	struct root root = {.n_map_pages = 1, .n_config_chunks = 1, .config_size = 2, .extents = x},
		    got = {0};
	cleanup_buf struct buf raw = {.max = 1000}, page = {.max = 100};
	struct extent *extents = NULL;
	struct map *map = NULL;
	size_t n;
	int r;

	root_encode(&root, &raw);
	each_fault (r, root_decode(&got, raw.data, raw.size, &d, NULL))
		cr_assert(r == -ENOMEM && !got.extents);
	cr_assert_eq(r, 0);
	x[0].plain_size = BLOCK_SIZE;
	extent_encode(&x[0], &page);
	each_fault (r, map_page_decode(&extents, &n, page.data, page.size, 0, 1, &d, NULL))
		cr_assert(r == -ENOMEM && !extents);
	cr_assert_eq(r, 0);
	free(extents);
	each_fault (r, map_new(&map, &got, &d))
		cr_assert(r == -ENOMEM && got.extents, "the root is still the caller's");
	cr_assert_eq(r, 0);
	map_free(map);
}

/* Runs once, when the next chunk is wiped: the cache's lock is not held then. */
static _Atomic(void (*)(void)) while_wiping;

static void wiping(void)
{
	void (*hook)(void) = atomic_exchange(&while_wiping, NULL);

	if (hook)
		hook();
}

void __real_explicit_bzero(void *p, size_t n);
void __wrap_explicit_bzero(void *p, size_t n);
void __wrap_explicit_bzero(void *p, size_t n)
{
	__real_explicit_bzero(p, n);
	wiping();
}

/* What it is called with _FORTIFY_SOURCE. */
void __real___explicit_bzero_chk(void *p, size_t n, size_t room);
void __wrap___explicit_bzero_chk(void *p, size_t n, size_t room);
void __wrap___explicit_bzero_chk(void *p, size_t n, size_t room)
{
	__real___explicit_bzero_chk(p, n, room);
	wiping();
}

static const struct extent small = {.chunk = 5, .plain_size = 4096},
			   large = {.chunk = 6, .plain_size = 65536};
static struct plain_cache *cache;
static struct chunk *waiter;

Test(faults, the_cache)
{
	const struct extent other = {.chunk = 5, .plain_size = 4096, .key = {1}};
	struct chunk *chunk;
	int r;

	each_fault (r, plain_cache_new(&cache, 4096, 4096))
		cr_assert(r == -ENOMEM && !cache);
	cr_assert_eq(r, 0);
	each_fault (r, plain_cache_claim(cache, &small, &chunk))
		cr_assert_eq(r, -ENOMEM);
	cr_assert_eq(r, CHUNK_LOAD);
	cr_assert_eq(plain_cache_claim(cache, &other, &waiter), -EUCLEAN, "another key");
	plain_cache_done(cache, chunk, 0);
	plain_cache_release(cache, chunk);
	/* more than the cap: memory of its own, if there is any */
	each_fault (r, plain_cache_claim(cache, &large, &chunk))
		cr_assert_eq(r, -ENOMEM);
	cr_assert_eq(r, CHUNK_LOAD);
	plain_cache_done(cache, chunk, 0);
	plain_cache_release(cache, chunk);
	plain_cache_free(cache);
	plain_cache_free(NULL);
}

static void claim_too(void)
{
	cr_assert_eq(plain_cache_claim(cache, &large, &waiter), CHUNK_WAIT);
	/* and there is no room after all */
	fault_arm(1);
}

Test(faults, who_waits_for_a_chunk_without_room_is_told)
{
	struct chunk *chunk;

	cr_assert_eq(plain_cache_new(&cache, 65536, 32768), 0);
	cr_assert_eq(plain_cache_claim(cache, &small, &chunk), CHUNK_LOAD);
	plain_cache_done(cache, chunk, 0);
	plain_cache_release(cache, chunk);
	arena_is_full = true;
	while_wiping = claim_too;
	cr_assert_eq(plain_cache_claim(cache, &large, &chunk), -ENOMEM);
	cr_assert(fault_fired());
	cr_assert_eq(plain_cache_wait(cache, waiter), -ENOMEM);
	plain_cache_release(cache, waiter);
	arena_is_full = false;
	cr_assert_eq(plain_cache_claim(cache, &large, &chunk), CHUNK_LOAD, "it can be tried again");
	plain_cache_done(cache, chunk, 0);
	plain_cache_release(cache, chunk);
	plain_cache_free(cache);
}

static void *take_and_return(void *pool)
{
	opener_return(pool, opener_take(pool));
	return NULL;
}

Test(faults, an_opener_is_waited_for)
{
	struct opener_pool p;
	struct opener *o;
	pthread_t t;

	processors = 1;
	cr_assert_eq(opener_pool_init(&p), 0);
	o = opener_take(&p);
	cr_assert_eq(pthread_create(&t, NULL, take_and_return, &p), 0);
	(void)usleep(200000);
	opener_return(&p, o);
	cr_assert_eq(pthread_join(t, NULL), 0);
	cr_assert_eq(p.n_idle, 1);
	opener_pool_deinit(&p);
}
