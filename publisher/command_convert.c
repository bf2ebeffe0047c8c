/* SPDX-License-Identifier: Apache-2.0
 * cocoon convert: the command line, and what is told at the end. */
#include "proto/base/cleanup.h"
#include "proto/base/log.h"
#include "publisher/command.h"
#include "publisher/convert.h"
#include "publisher/progress.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_LEVEL 3
#define MAX_LEVEL 19
#define MAX_THREADS 64

static const char help[] =
	"Usage: cocoon convert [OPTION]... SOURCE DESTINATION\n"
	"\n"
	"Seals an image. SOURCE and DESTINATION are registry/repository:tag or oci:DIRECTORY[:tag].\n"
	"\n"
	"Keys; at least one of the first two:\n"
	"  --recipient FILE     wrap the image key for this public key (PEM: RSA or EC; also jwe:FILE).\n"
	"  --recipient provider:attestation-agent:PARAMETERS\n"
	"                       have the key provider wrap it that OCICRYPT_KEYPROVIDER_CONFIG names, for\n"
	"                       guests that ask the Confidential Data Hub. May be given more than once\n"
	"  --image-key FILE     use this image key, from cocoon keygen image, instead of a new one\n"
	"  --domain FILE        secret of those who share chunks, from cocoon keygen domain. Without it the\n"
	"                       image gets a secret of its own and shares nothing\n"
	"\n"
	"What is sealed, and how:\n"
	"  --platform P         os/architecture[/variant] to take from an image index (this machine's)\n"
	"  --public FIELD,...   config fields to leave readable: Env, Entrypoint, Cmd, WorkingDir, Labels,\n"
	"                       ExposedPorts, Volumes, StopSignal, created, history, or all. Always "
	"readable:\n"
	"                       platform, numeric user, layer digests\n"
	"  --startup FILE       paths, one a line, that a guest fetches ahead of need, always in one order\n"
	"  --level N            zstd level, 1 to 19 (3)\n"
	"  --pad none|padme     hide all but the first bits of chunk sizes, for 2 % more bytes (padme)\n"
	"  --threads N          threads that seal (one for each processor)\n"
	"\n"
	"Registry and output:\n" REMOTE_HELP
	"  --mount-from REPO    another repository of the destination's registry that may hold the blobs\n"
	"  --quiet              no progress bar and no summary\n"
	"  --json               the summary as JSON\n";

static const struct option options[] = {
	REMOTE_OPTIONS,
	{"recipient", required_argument, NULL, 'r'},
	{"image-key", required_argument, NULL, 'i'},
	{"domain", required_argument, NULL, 'd'},
	{"platform", required_argument, NULL, 'p'},
	{"public", required_argument, NULL, 'u'},
	{"startup", required_argument, NULL, 's'},
	{"level", required_argument, NULL, 'l'},
	{"pad", required_argument, NULL, 'P'},
	{"threads", required_argument, NULL, 't'},
	{"mount-from", required_argument, NULL, 'm'},
	{"quiet", no_argument, NULL, 'q'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int number_option(unsigned *out, const char *text, unsigned max, const char *name, struct err *e)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || end == text || *end || v < 1 || v > max)
		return err_set(e, -EINVAL, "--%s takes a number from 1 to %u", name, max);
	*out = (unsigned)v;
	return 0;
}

static int pad_option(enum padding *out, const char *text, struct err *e)
{
	if (strcmp(text, "none") == 0)
		*out = PADDING_NONE;
	else if (strcmp(text, "padme") == 0)
		*out = PADDING_PADME;
	else
		return err_set(e, -EINVAL, "--pad takes none or padme");
	return 0;
}

static int recipient_option(struct convert_options *o, const char *text, struct err *e)
{
	if (o->n_recipients == CONVERT_MAX_RECIPIENTS)
		return err_set(e, -EINVAL, "more than %u recipients", CONVERT_MAX_RECIPIENTS);
	return recipient_parse(&o->recipients[o->n_recipients++], text, e);
}

/* One option that takes a value. */
static int take_option(struct convert_options *o, int option, const char *value, struct err *e)
{
	unsigned level;
	int r = 0;

	switch (option) {
	case 'r':
		return recipient_option(o, value, e);
	case 'i':
		o->image_key_file = value;
		return 0;
	case 'd':
		o->domain_file = value;
		return 0;
	case 'p':
		return oci_platform_parse(&o->platform, value, e);
	case 'u':
		return public_fields_parse(&o->public_fields, value, e);
	case 's':
		o->startup_file = value;
		return 0;
	case 'l':
		r = number_option(&level, value, MAX_LEVEL, "level", e);
		if (r == 0)
			o->seal.level = (int)level;
		return r;
	case 'P':
		return pad_option(&o->seal.padding, value, e);
	case 't':
		return number_option(&o->n_threads, value, MAX_THREADS, "threads", e);
	case 'm':
		o->mount_from = value;
		return 0;
	default:
		return err_set(e, -EINVAL, "unknown option");
	}
}

static int print_json(const struct convert_result *c)
{
	char source[DIGEST_TEXT_SIZE], manifest[DIGEST_TEXT_SIZE], descriptor[DIGEST_TEXT_SIZE];
	json_t *j = json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "source",
		digest_text(&c->source, source), "manifest", digest_text(&c->manifest, manifest),
		"descriptor", digest_text(&c->index.descriptor, descriptor), "layers",
		(json_int_t)c->n_layers, "source_bytes", (json_int_t)c->source_bytes, "tar_bytes",
		(json_int_t)c->read.tar_bytes, "image_bytes", (json_int_t)c->index.image_size, "sealed_bytes",
		(json_int_t)c->stored.bytes, "index_bytes", (json_int_t)c->index.size, "chunks",
		(json_int_t)c->index.n_chunks, "blobs", (json_int_t)c->stored.blobs, "blobs_present",
		(json_int_t)c->stored.blobs_present, "bytes_saved", (json_int_t)c->stored.bytes_saved,
		"duration_ms", (json_int_t)c->duration_ms);
	int r = j ? json_dumpf(j, stdout, JSON_INDENT(2)) : -1;

	json_decref(j);
	return r == 0 && putchar('\n') != EOF ? 0 : -EIO;
}

static void print_summary(const struct convert_options *o, const struct convert_result *c)
{
	char text[REFERENCE_TEXT_SIZE], digest[DIGEST_TEXT_SIZE];
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE], d[SIZE_TEXT_SIZE];
	uint64_t ms = c->duration_ms ? c->duration_ms : 1;

	(void)printf("%s\n", reference_text(&o->to, text));
	(void)printf("  manifest    %s\n", digest_text(&c->manifest, digest));
	(void)printf("  descriptor  %s\n", digest_text(&c->index.descriptor, digest));
	(void)printf("  source      %u layers, %s stored, %s unpacked\n", c->n_layers,
		     size_text(c->source_bytes, a), size_text(c->read.tar_bytes, b));
	(void)printf("  sealed      %s in %" PRIu64 " blobs, %u chunks, index %s\n",
		     size_text(c->stored.bytes, a), c->stored.blobs, c->index.n_chunks,
		     size_text(c->index.size, d));
	if (c->stored.blobs_present)
		(void)printf("  shared      %" PRIu64 " blobs, %s were there already\n",
			     c->stored.blobs_present, size_text(c->stored.bytes_saved, a));
	(void)printf("  time        %.1f s, %s/s\n", (double)ms / 1000,
		     size_text(c->read.tar_bytes * 1000 / ms, a));
	if (c->read.dropped_xattrs)
		(void)printf("  dropped     %" PRIu64 " extended attributes that no file system can hold\n",
			     c->read.dropped_xattrs);
}

/* What cannot be told from one option alone. */
static int check_options(const struct convert_options *o, struct err *e)
{
	if (o->n_recipients == 0 && !o->image_key_file)
		return err_set(e, -EINVAL,
			       "who may open the image? Give --recipient FILE or --image-key FILE");
	if (o->to.has_digest)
		return err_set(e, -EINVAL, "the destination needs a tag, not a digest");
	return 0;
}

int command_convert(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct convert_options o = {.seal = {.level = DEFAULT_LEVEL, .padding = PADDING_PADME}};
	struct convert_result result;
	struct err e = {{0}};
	bool json = false;
	int option, r = 0;

	oci_platform_host(&o.platform);
	o.n_threads = processors < 1 ? 1 : processors > MAX_THREADS ? MAX_THREADS : (unsigned)processors;
	while ((option = getopt_long(argc, argv, "hqj", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(help, stdout);
			return EXIT_DONE;
		}
		if (option == 'q')
			o.quiet = true;
		else if (option == 'j')
			json = true;
		else if (!remote_option(&o.remote, option, optarg))
			r = take_option(&o, option, optarg, &e);
		if (r < 0)
			return command_usage("convert", "%s", e.text);
	}
	if (argc - optind != 2)
		return command_usage("convert", "a source and a destination are needed");
	r = reference_parse(&o.from, argv[optind], &e);
	if (r == 0)
		r = reference_parse(&o.to, argv[optind + 1], &e);
	if (r == 0)
		r = check_options(&o, &e);
	if (r < 0)
		return command_usage("convert", "%s", e.text);
	if (!o.domain_file && !o.quiet)
		log_info("no --domain: this image gets a secret of its own and shares no chunk with others");
	r = convert(&o, &result, &e);
	if (r < 0)
		return command_failed("convert", r, &e);
	if (json)
		r = print_json(&result);
	else if (!o.quiet)
		print_summary(&o, &result);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
