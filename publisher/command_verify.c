/* SPDX-License-Identifier: Apache-2.0
 * cocoon verify: every byte of a sealed image, checked as a guest checks it. */
#include "crypto/merkle.h"
#include "publisher/progress.h"
#include "publisher/sealed_command.h"
#include "publisher/sealed_source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: cocoon verify --key SPEC [OPTION]... IMAGE\n"
	"\n"
	"Fetches all of a sealed image and checks every chunk: hash tree, digest, seal, "
	"decompression, and the map\n"
	"of the whole filesystem. Uses the reader that guests use.\n"
	"\n" SEALED_HELP POLICY_HELP "  --quiet              only the exit code\n"
	"\n"
	"Exit codes: 0 valid, 1 it could not be read or the policy does not allow it, 3 it is not "
	"valid.\n";

static void print_result(const struct image *image, uint64_t ms)
{
	char digest[DIGEST_TEXT_SIZE], a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];
	struct image_stats stats;

	image_stats(image, &stats);
	(void)printf("valid: %u chunks, %s of plaintext, %s sealed, %.1f s\n",
		     image_descriptor(image)->n_chunks, size_text(image_descriptor(image)->image_size, a),
		     size_text(stats.stored_bytes, b), (double)ms / 1000);
	(void)printf("  manifest    %s\n", digest_text(image_manifest_digest(image), digest));
	(void)printf("  descriptor  %s\n", digest_text(image_descriptor_digest(image), digest));
}

/* The one block that no guest reads: the hash tree's superblock, for other programs. It follows from the
 * rest. */
static int check_superblock(const struct sealed_command *c, const struct descriptor *d, struct err *e)
{
	uint64_t table = chunk_table_size(d->n_chunks);
	uint8_t want[BLOCK_SIZE] = {0}, got[BLOCK_SIZE];
	struct source *source;
	int r = sealed_source_open(&source, &c->ref, &c->platform, &c->remote, e);

	if (r < 0)
		return r;
	r = source->ops->read_index(source, got, sizeof(got), table, e);
	source->ops->close(source);
	if (r == 0 && verity_superblock_encode(want, table / BLOCK_SIZE, d->salt) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0 && memcmp(got, want, sizeof(got)) != 0)
		r = err_set(e, -EBADMSG, "the superblock of the hash tree is not what the descriptor says");
	return r;
}

int command_verify(int argc, char **argv)
{
	struct sealed_command c = {.name = "verify", .help = help, .takes_policy = true, .n_arguments = 1};
	uint64_t started = clock_ms();
	struct progress progress;
	struct image *image;
	struct err e = {{0}};
	int code, r;

	if (!sealed_command_parse(&c, argc, argv, &code))
		return code;
	if (c.keys.n == 0)
		return command_usage("verify", "with which key? Give --key SPEC");
	r = sealed_command_open(&c, &image, &e);
	if (r < 0)
		return command_failed("verify", r, &e);
	progress_start(&progress, "verifying", c.quiet);
	r = image_verify(image, progress_update, &progress, &e);
	progress_end(&progress);
	if (r == 0)
		r = check_superblock(&c, image_descriptor(image), &e);
	if (r == 0 && !c.quiet)
		print_result(image, clock_ms() - started);
	image_close(image);
	return r < 0 ? command_failed("verify", r, &e) : EXIT_DONE;
}
