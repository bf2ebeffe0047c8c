/* SPDX-License-Identifier: Apache-2.0
 * flip [--jobs N] [--all]: every single bit of a sealed image at rest, and of the frames that carry it, is
 * flipped, one at a time, and what covers it is read again with nothing cached. The guest has to notice, or
 * the bit must be one that says nothing to it, and then everything has to be as it was. */
#include "flip.h"
#include "crypto/keypair.h"
#include "crypto/keywrap.h"
#include "crypto/sha256.h"
#include "judge.h"
#include "proto/base/log.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEAST_FLIPS 2000000u

static const char *const kind_names[N_KINDS] = {
	[MANIFEST_BY_DIGEST] = "manifest, by its digest",
	[MANIFEST_BY_IDENTITY] = "manifest, by identity",
	[MANIFEST_BY_TAG] = "manifest, by tag",
	[MANIFEST_WITH_RECIPIENT] = "manifest, by tag, recipient",
	[DESCRIPTOR] = "descriptor, by tag",
	[DESCRIPTOR_BY_DIGEST] = "descriptor, by digest",
	[TABLE] = "chunk table",
	[SUPERBLOCK] = "superblock",
	[TREE] = "hash tree",
	[ROOT_CHUNK] = "root chunk",
	[MAP_CHUNK] = "map pages",
	[CONFIG_CHUNK] = "config",
	[STARTUP_CHUNK] = "start-up list",
	[METADATA_CHUNK] = "metadata chunks",
	[DATA_CHUNK] = "data chunks",
	[NAMES] = "names and attributes",
	[FRAME_HELLO] = "frame: HELLO",
	[FRAME_OPEN] = "frame: OPEN",
	[FRAME_INDEX] = "frame: INDEX",
	[FRAME_CHUNK] = "frame: CHUNKS, its fields",
	[FRAME_CHUNK_BYTES] = "frame: CHUNKS, stored bytes",
};

static void count_reason(struct tally *t, const char *text)
{
	for (size_t k = 0; k < REASONS; k++) {
		struct reason *r = &t->reasons[k];

		if (r->text[0] == '\0')
			(void)snprintf(r->text, sizeof(r->text), "%s", text);
		if (strcmp(r->text, text) == 0) {
			r->flips++;
			return;
		}
	}
}

void flip_record(struct bench *b, enum kind kind, uint64_t byte, unsigned int bit, const struct outcome *o)
{
	struct count *c = &b->tally->kinds[kind];
	const char *what = NULL;

	c->flips++;
	if (!o->delivered) {
		what = "never came to the guest";
	} else if (o->result < 0) {
		c->refused++;
		c->errors[-o->result < ERRORS ? -o->result : 0]++;
	} else if (o->result == WRONG) {
		what = judge_words;
	} else if (o->asked_again) {
		c->asked_again++;
	} else if (o->reason) {
		c->harmless++;
		count_reason(b->tally, o->reason);
	} else {
		what = "not noticed";
	}
	if (what && c->missed++ < 10)
		printf("MISS: %s, byte %llu, bit %u: %s\n", kind_names[kind], (unsigned long long)byte, bit,
		       what);
}

static void run_share(struct bench *b, const struct chunks *c)
{
	flip_at_rest(b, c);
	flip_frames(b, c->images, c->n_images);
}

/* --- reporting */

static void add_up(struct tally *sum, const struct tally *t)
{
	for (size_t k = 0; k < N_KINDS; k++) {
		struct count *to = &sum->kinds[k];
		const struct count *from = &t->kinds[k];

		to->flips += from->flips;
		to->refused += from->refused;
		to->asked_again += from->asked_again;
		to->harmless += from->harmless;
		to->missed += from->missed;
		for (size_t n = 0; n < ERRORS; n++)
			to->errors[n] += from->errors[n];
	}
	for (size_t k = 0; k < REASONS; k++)
		for (uint64_t n = 0; n < t->reasons[k].flips; n++)
			count_reason(sum, t->reasons[k].text);
}

static uint64_t print_tally(const struct tally *t, uint64_t *flips)
{
	uint64_t missed = 0;

	printf("%-28s %9s %9s %11s %9s %6s  refused with\n", "", "flips", "refused", "asked again",
	       "harmless", "missed");
	for (size_t k = 0; k < N_KINDS; k++) {
		const struct count *c = &t->kinds[k];

		printf("%-28s %9llu %9llu %11llu %9llu %6llu ", kind_names[k], (unsigned long long)c->flips,
		       (unsigned long long)c->refused, (unsigned long long)c->asked_again,
		       (unsigned long long)c->harmless, (unsigned long long)c->missed);
		for (size_t n = 0; n < ERRORS; n++)
			if (c->errors[n])
				printf(" %s %llu", n ? strerrorname_np((int)n) : "other",
				       (unsigned long long)c->errors[n]);
		printf("\n");
		*flips += c->flips;
		missed += c->missed;
	}
	for (size_t k = 0; k < REASONS; k++)
		if (t->reasons[k].flips)
			printf("harmless: %8llu  %s\n", (unsigned long long)t->reasons[k].flips,
			       t->reasons[k].text);
	return missed;
}

/* --- the image, its recipient, its processes */

static int make_specimen(struct specimen *s, const char *dir, char recipient[static 200])
{
	char public[200], text[DIGEST_TEXT_SIZE];
	struct secret key;
	struct digest d;
	struct buf jwe;
	int r;

	specimen_make(s, &(struct specimen_shape){.secrets = 1,
						  .contents = 2,
						  .n_files = 19,
						  .n_layers = 3,
						  .file_blocks = 3,
						  .noise = true,
						  .cut = CUT,
						  .page_extents = 40});
	buf_init(&jwe, KEYWRAP_MAX_ANNOTATION);
	memcpy(key.bytes, s->sealed.image_key, SECRET_SIZE);
	(void)snprintf(recipient, 200, "recipient:%s/key", dir);
	(void)snprintf(public, sizeof(public), "%s/key.pub", dir);
	r = keypair_write(strchr(recipient, ':') + 1, public, NULL);
	if (r == 0)
		r = sha256(&d, s->sealed.descriptor, DESCRIPTOR_SIZE);
	if (r == 0)
		r = keywrap_wrap(&jwe, &key, &d, public, NULL);
	buf_u8(&jwe, 0);
	if (r == 0)
		specimen_annotate(s, (const char *)jwe.data, digest_text(&d, text));
	buf_deinit(&jwe);
	return r;
}

static void child(struct bench b, unsigned int share, const char *dir)
{
	struct chunks c;
	char own[300];

	(void)snprintf(own, sizeof(own), "%s/%u", dir, share);
	if (mkdir(own, 0700) < 0)
		exit(1);
	b.share = share;
	b.dir = own;
	b.tally += share;
	flip_discover(&b, &c);
	run_share(&b, &c);
	chunks_deinit(&c);
	(void)fflush(stdout);
	_exit(0);
}

static int run(struct bench *b, const char *dir, struct tally *sum)
{
	struct tally *shared = mmap(NULL, b->n_shares * sizeof(*shared), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[64];
	int failed = 0;

	if (shared == MAP_FAILED)
		return 1;
	b->tally = shared;
	for (unsigned int k = 0; k < b->n_shares; k++) {
		(void)fflush(stdout);
		pids[k] = fork();
		if (pids[k] == 0)
			child(*b, k, dir);
	}
	for (unsigned int k = 0; k < b->n_shares; k++) {
		int status = 1;

		if (pids[k] < 0 || waitpid(pids[k], &status, 0) < 0 || status != 0) {
			printf("process %u ended with status %#x\n", k, (unsigned int)status);
			failed = 1;
		}
		add_up(sum, &shared[k]);
	}
	(void)munmap(shared, b->n_shares * sizeof(*shared));
	return failed;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"jobs", required_argument, NULL, 'j'}, {"all", no_argument, NULL, 'a'}, {0}};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char dir[] = "/tmp/tamper-flip.XXXXXX", recipient[200], command[100];
	struct bench b = {.n_shares = cpus > 1 ? 2 : 1};
	static struct tally sum;
	struct specimen s;
	struct chunks c;
	uint64_t flips = 0, missed;
	time_t start = time(NULL);
	int failed, o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'j')
			b.n_shares = (unsigned int)strtoul(optarg, NULL, 10);
		else if (o == 'a')
			b.all = true;
		else
			return 2;
	}
	if (b.n_shares < 1 || b.n_shares > 64 || !mkdtemp(dir))
		return 2;
	log_init("flip", LOG_LEVEL_ERROR);
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* scratch memory is taken and given back often */
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	failed = make_specimen(&s, dir, recipient);
	b.specimen = &s;
	b.recipient = recipient;
	if (failed == 0) {
		flip_discover(&b, &c);
		failed = flip_covers_everything(&b, &c) ? run(&b, dir, &sum) : 1;
		chunks_deinit(&c);
	}
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command) != 0)
		failed = 1;
	missed = print_tally(&sum, &flips);
	printf("%llu flips, %llu missed, %lld s, %u processes\n", (unsigned long long)flips,
	       (unsigned long long)missed, (long long)(time(NULL) - start), b.n_shares);
	specimen_free(&s);
	return failed || missed || flips < LEAST_FLIPS;
}
