/* SPDX-License-Identifier: Apache-2.0
 * mutate [--seed S] [--runs N] [--seconds T] [--verbose]: run k of seed S + k. In each the host mixes and
 * forges parts of three images and lies in its answers, the guest opens what it is given and reads; every
 * byte, name and attribute has to be the reference's, or the read fails. A run that misses is printed and
 * comes again with --seed and --runs 1. */
#include "crypto/sha256.h"
#include "guest.h"
#include "judge.h"
#include "proto/base/log.h"
#include "scene.h"
#include "source_memory.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIRE_ONE_IN 16u
#define REPORT_EVERY 100000u
#define MISSES_MAX 10u

enum end { REFUSED_AT_OPENING, REFUSED_IN_READING, ALL_THE_SAME, N_ENDS };

static const char *const end_names[N_ENDS] = {"refused at opening", "refused in reading", "all the same"};

struct totals {
	uint64_t runs, wire, missed, mutations, lies, reads, healed;
	uint64_t ends[N_ENDS];
	uint64_t *chunk, *image, *lie; /* by kind */
};

struct player {
	struct cast casts[2];
	struct scene scene;
	struct source_store store;
	struct host host;
	char path[100];
	bool verbose;
	struct totals totals;
};

/* Two shapes: many small chunks under a tree of two levels, whose table is read in parts; and larger chunks
 * in many layers, with files that share some. */
static const struct specimen_shape shapes[2] = {
	{.n_files = 1450, .n_layers = 3, .file_blocks = 13, .cut = 4096, .page_extents = 1500},
	{.n_files = 700, .n_layers = 20, .file_blocks = 3, .cut = 8192, .page_extents = 200},
};

/* --- the images */

static int give_key(void *arg, struct secret *key, const struct oci_manifest *manifest,
		    const struct descriptor *descriptor, const struct digest *digest, struct err *e)
{
	const struct cast *cast = arg;

	(void)manifest;
	(void)descriptor;
	(void)digest;
	(void)e;
	memcpy(key->bytes, cast->now.sealed.image_key, SECRET_SIZE);
	return 0;
}

static struct image_options options_of(const struct cast *cast, size_t cache_bytes)
{
	union {
		const struct cast *in;
		void *out;
	} arg = {cast};

	return (struct image_options){
		.cache_bytes = cache_bytes, .find_key = give_key, .find_key_arg = arg.out};
}

static int remember(void *arg, enum where where, uint64_t offset, uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	if (where == IN_CHUNK)
		*(uint32_t *)arg = (uint32_t)offset;
	return 0;
}

/* The last chunk that a read of one block asks for is the one that holds it. */
static void find_addresses(struct cast *cast)
{
	struct image_options options = options_of(cast, 1);
	struct source_memory source;
	uint32_t last = 0;
	struct image *i;

	cast->addresses = malloc(cast->now.sealed.n_chunks * sizeof(*cast->addresses));
	for (uint32_t k = 0; cast->addresses && k < cast->now.sealed.n_chunks; k++)
		cast->addresses[k] = UINT64_MAX;
	source_memory_init(&source, &cast->now.sealed);
	source.tamper = remember;
	source.arg = &last;
	if (!cast->addresses || image_open(&i, &source.source, &options, NULL) < 0)
		abort();
	for (uint64_t at = 0; at < cast->now.size; at += BLOCK_SIZE) {
		if (judge_read(i, &cast->now, at, BLOCK_SIZE) != 0)
			abort();
		if (cast->addresses[last] == UINT64_MAX)
			cast->addresses[last] = at;
	}
	image_close(i);
}

static void make_cast(struct cast *c, const struct specimen_shape *shape, uint64_t number)
{
	struct specimen_shape s = *shape;

	s.secrets = s.contents = 1000 + 10 * number;
	s.version = 1;
	specimen_make(&c->now, &s);
	s.version = 0;
	specimen_make(&c->before, &s);
	s.secrets++;
	s.contents++;
	s.n_files = shape->n_files / 4;
	specimen_make(&c->other, &s);
	find_addresses(c);
	printf("%u chunks (%u of metadata) in %u blobs, %zu bytes of plaintext, table and tree of %" PRIu64
	       " bytes\n",
	       c->now.sealed.n_chunks, c->now.sealed.n_meta_chunks, c->now.sealed.n_blobs, c->now.size,
	       meta_offset_of(c->now.sealed.n_chunks));
}

static void drop_cast(struct cast *c)
{
	specimen_free(&c->now);
	specimen_free(&c->before);
	specimen_free(&c->other);
	free(c->addresses);
}

/* --- one run */

static void do_mutation(struct player *p, const struct mutation *m, uint64_t *count)
{
	m->apply(&p->scene);
	p->totals.mutations++;
	++*count;
	if (p->verbose)
		printf("  %s\n", m->name);
}

static void mutate(struct player *p, struct random *r)
{
	for (unsigned int n = 1 + (unsigned int)random_below(r, 4); n > 0; n--) {
		bool image = random_one_in(r, 4);
		size_t k = random_below(r, image ? n_image_mutations : n_chunk_mutations);

		do_mutation(p, image ? &image_mutations[k] : &chunk_mutations[k],
			    image ? &p->totals.image[k] : &p->totals.chunk[k]);
	}
}

static void plan_lies(struct player *p, struct random *r)
{
	struct scene *s = &p->scene;
	size_t n = random_below(r, LIES_MAX + 1);

	for (size_t slot = 0; slot < n; slot++) {
		size_t k = random_below(r, n_frame_lies);

		s->lies[slot].when = (unsigned int)random_below(r, 12);
		s->lies[slot].how = &frame_lies[k];
		p->totals.lies++;
		p->totals.lie[k]++;
		if (p->verbose)
			printf("  answer %u: %s\n", s->lies[slot].when, frame_lies[k].name);
	}
	s->n_lies = n;
}

/* Which of the two that the key opens is it? */
static const struct specimen *reference_of(const struct cast *cast, const struct image *i)
{
	const uint8_t *salt = image_descriptor(i)->salt;

	if (memcmp(salt, cast->now.sealed.descriptor + 48, 32) == 0)
		return &cast->now;
	return memcmp(salt, cast->before.sealed.descriptor + 48, 32) == 0 ? &cast->before : NULL;
}

static uint64_t some_address(const struct scene *s, const struct specimen *ref, struct random *r)
{
	uint64_t at = UINT64_MAX;

	if (s->n_focus > 0 && !random_one_in(r, 4))
		at = s->cast->addresses[s->focus[random_below(r, s->n_focus)]];
	if (at >= ref->size)
		at = random_below(r, ref->size);
	return at;
}

static int read_something(struct player *p, struct image *i, const struct specimen *ref, struct random *r)
{
	uint64_t at = some_address(&p->scene, ref, r), left = ref->size - at;
	size_t n = 1 + random_below(r, random_one_in(r, 4) ? 40000 : 5000);

	p->totals.reads++;
	if (random_one_in(r, 6))
		return judge_config(i, ref);
	if (random_one_in(r, 12))
		return judge_path(i, ref, r);
	return judge_read(i, ref, at, n < left ? n : (size_t)left);
}

/* 0: all the same; a negative errno: some read failed; WRONG. */
static int read_on(struct player *p, struct image *i, const struct specimen *ref, struct random *r)
{
	int result = 0;

	for (unsigned int n = 2 + (unsigned int)random_below(r, 5); n > 0; n--) {
		int one = read_something(p, i, ref, r);

		if (one == WRONG)
			return one;
		if (one < 0)
			result = one;
	}
	return result;
}

/* The host behaves again: so does everything. */
static int heal(struct player *p, struct image *i, struct random *r)
{
	const struct specimen *now = &p->scene.cast->now;
	uint64_t at = some_address(&p->scene, now, r);
	int one;

	store_reset(&p->scene.store, &now->sealed);
	p->totals.healed++;
	one = judge_read(i, now, at, now->size - at < 5000 ? (size_t)(now->size - at) : 5000);
	if (one < 0)
		(void)snprintf(judge_words, sizeof(judge_words),
			       "an honest host is not believed any more: %d", one);
	return one == 0 ? 0 : WRONG;
}

static int use_image(struct player *p, struct image *i, bool pinned, bool wire, struct random *r)
{
	const struct specimen *ref = reference_of(p->scene.cast, i);
	int result;

	if (!ref || (pinned && ref != &p->scene.cast->now)) {
		(void)snprintf(judge_words, sizeof(judge_words), "another image opens%s",
			       pinned ? ", pinned" : "");
		return WRONG;
	}
	result = read_on(p, i, ref, r);
	if (result == 0 && !wire && random_one_in(r, 3)) { /* the host changes its mind */
		mutate(p, r);
		result = read_on(p, i, ref, r);
	}
	if (result != WRONG && !wire && !p->scene.identity && random_one_in(r, 4) && heal(p, i, r) == WRONG)
		result = WRONG;
	return result;
}

static void scene_begin(struct player *p, const struct cast *cast, uint64_t seed)
{
	struct scene *s = &p->scene;

	s->cast = cast;
	s->random = (struct random){seed ^ 0x5eed};
	store_reset(&s->store, &cast->now.sealed);
	s->n_focus = s->n_lies = 0;
	s->n_answers = s->n_hellos = 0;
	s->earlier.size = 0;
	s->identity = false;
}

static int play(struct player *p, uint64_t seed, bool *opened)
{
	struct random r = {seed * 0x9e3779b97f4a7c15};
	const struct cast *cast = &p->casts[random_below(&r, 2)];
	bool wire = random_one_in(&r, WIRE_ONE_IN);
	struct image_options options =
		options_of(cast, random_one_in(&r, 8) ? 1u << (10 + random_below(&r, 10)) : 1);
	struct source *source = &p->store.source;
	struct digest pin;
	struct err e = {""};
	struct image *i;
	int result;

	scene_begin(p, cast, seed);
	mutate(p, &r);
	if (wire) {
		plan_lies(p, &r);
		source = guest_source(p->path);
		p->totals.wire++;
	}
	switch (random_below(&r, 4)) {
	case 0:
		options.want_descriptor = &pin;
		(void)sha256(&pin, cast->now.sealed.descriptor, DESCRIPTOR_SIZE);
		break;
	case 1:
		options.want_manifest = &pin;
		(void)sha256(&pin, cast->now.sealed.manifest, strlen(cast->now.sealed.manifest));
		break;
	default:
		break;
	}
	result = image_open(&i, source, &options, &e);
	*opened = result == 0;
	if (result < 0) {
		source->ops->close(source);
	} else {
		result = use_image(p, i, options.want_descriptor || options.want_manifest, wire, &r);
		image_close(i);
	}
	if (wire)
		host_wait_quiet(&p->host);
	if (p->verbose)
		printf("  %s: %d %s\n", *opened ? "reading" : "opening", result,
		       result == WRONG ? judge_words : e.text);
	return result;
}

static void run(struct player *p, uint64_t seed)
{
	struct totals *t = &p->totals;
	bool opened;
	int result;

	if (p->verbose)
		printf("seed %" PRIu64 "\n", seed);
	result = play(p, seed, &opened);
	t->runs++;
	if (result == WRONG) {
		t->missed++;
		printf("MISS: seed %" PRIu64 ": %s\n", seed, judge_words);
	} else {
		t->ends[result == 0 ? ALL_THE_SAME : opened ? REFUSED_IN_READING : REFUSED_AT_OPENING]++;
	}
}

/* --- reports */

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const struct totals *t, double seconds)
{
	printf("%" PRIu64 " runs (%" PRIu64 " over the wire), %" PRIu64 " mutations, %" PRIu64
	       " lies, %" PRIu64 " reads: ",
	       t->runs, t->wire, t->mutations, t->lies, t->reads);
	for (size_t k = 0; k < N_ENDS; k++)
		printf("%s %" PRIu64 ", ", end_names[k], t->ends[k]);
	printf("%" PRIu64 " healed, %" PRIu64 " missed; %.0f s, %.0f runs/s\n", t->healed, t->missed, seconds,
	       (double)t->runs / (seconds > 0 ? seconds : 1));
	(void)fflush(stdout);
}

static void report_kinds(const struct totals *t)
{
	for (size_t k = 0; k < n_chunk_mutations; k++)
		printf("%9" PRIu64 "  %s\n", t->chunk[k], chunk_mutations[k].name);
	for (size_t k = 0; k < n_image_mutations; k++)
		printf("%9" PRIu64 "  %s\n", t->image[k], image_mutations[k].name);
	for (size_t k = 0; k < n_frame_lies; k++)
		printf("%9" PRIu64 "  %s\n", t->lie[k], frame_lies[k].name);
}

static void run_all(struct player *p, uint64_t seed, uint64_t runs, double seconds)
{
	double start = now_s();
	uint64_t k;

	for (k = 0; k < runs && p->totals.missed < MISSES_MAX; k++) {
		run(p, seed + k);
		if (p->totals.runs % REPORT_EVERY == 0)
			report(&p->totals, now_s() - start);
		if (seconds > 0 && k % 64 == 0 && now_s() - start > seconds)
			break;
	}
	report(&p->totals, now_s() - start);
	if (!p->verbose)
		report_kinds(&p->totals);
}

static void player_init(struct player *p, const char *dir)
{
	for (size_t k = 0; k < 2; k++)
		make_cast(&p->casts[k], &shapes[k], k);
	store_init(&p->scene.store);
	store_reset(&p->scene.store, &p->casts[0].now.sealed);
	buf_init(&p->scene.earlier, 1 << 20);
	source_store_init(&p->store, &p->scene.store);
	(void)snprintf(p->path, sizeof(p->path), "%s/host", dir);
	host_start(&p->host, &p->scene.store, p->path);
	p->host.liar = scene_liar;
	p->host.arg = &p->scene;
	p->totals.chunk = calloc(n_chunk_mutations, sizeof(uint64_t));
	p->totals.image = calloc(n_image_mutations, sizeof(uint64_t));
	p->totals.lie = calloc(n_frame_lies, sizeof(uint64_t));
	if (!p->totals.chunk || !p->totals.image || !p->totals.lie)
		abort();
}

static void player_deinit(struct player *p)
{
	host_stop(&p->host);
	(void)unlink(p->path);
	store_deinit(&p->scene.store);
	buf_deinit(&p->scene.earlier);
	free(p->totals.chunk);
	free(p->totals.image);
	free(p->totals.lie);
	for (size_t k = 0; k < 2; k++)
		drop_cast(&p->casts[k]);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'},
						{"runs", required_argument, NULL, 'r'},
						{"seconds", required_argument, NULL, 't'},
						{"verbose", no_argument, NULL, 'v'},
						{0}};
	char dir[] = "/tmp/tamper-mutate.XXXXXX";
	uint64_t seed = 1, runs = UINT64_MAX;
	static struct player p;
	double seconds = 0;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (o == 'r')
			runs = strtoull(optarg, NULL, 10);
		else if (o == 't')
			seconds = strtod(optarg, NULL);
		else if (o == 'v')
			p.verbose = true;
		else
			return 2;
	}
	if (runs == UINT64_MAX && seconds == 0)
		runs = 10000;
	if (!mkdtemp(dir))
		return 2;
	log_init("mutate", LOG_LEVEL_ERROR);
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* scratch memory is taken and given back often */
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	player_init(&p, dir);
	run_all(&p, seed, runs, seconds);
	player_deinit(&p);
	(void)rmdir(dir);
	return p.totals.missed > 0;
}
