/* SPDX-License-Identifier: Apache-2.0
 * Options of sealing, and what is told at the end. */
#include "publisher/sealing_command.h"
#include "proto/base/log.h"
#include "publisher/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_LEVEL 7 /* an image is sealed once and fetched often: bench/results/sweep.md */
#define MAX_LEVEL 19
#define MAX_THREADS 64

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

int sealing_command_option(struct sealing_command *c, int option, const char *value, struct err *e)
{
	if (remote_option(&c->convert.remote, option, value))
		return 0;
	if (option == 'q')
		c->convert.quiet = true;
	else if (option == 'j')
		c->json = true;
	else
		return take_option(&c->convert, option, value, e);
	return 0;
}

void sealing_command_init(struct sealing_command *c)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	*c = (struct sealing_command){
		.convert = {.seal = {.level = DEFAULT_LEVEL, .padding = PADDING_PADME}}};
	oci_platform_host(&c->convert.platform);
	c->convert.n_threads = processors < 1		  ? 1
			       : processors > MAX_THREADS ? MAX_THREADS
							  : (unsigned)processors;
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

int sealing_command_images(struct sealing_command *c, int n, char **images, struct err *e)
{
	struct convert_options *o = &c->convert;
	int r = n == 2 ? reference_parse(&o->from, images[0], e)
		       : err_set(e, -EINVAL, "a source and a destination are needed");

	if (r == 0)
		r = reference_parse(&o->to, images[1], e);
	if (r == 0)
		r = check_options(o, e);
	if (r == 0 && !o->domain_file && !o->quiet)
		log_info("no --domain: this image gets a secret of its own and shares no chunk with others");
	return r;
}

json_t *sealing_json(const struct convert_result *c)
{
	char source[DIGEST_TEXT_SIZE], manifest[DIGEST_TEXT_SIZE], descriptor[DIGEST_TEXT_SIZE];

	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "source",
			 digest_text(&c->source, source), "manifest", digest_text(&c->manifest, manifest),
			 "descriptor", digest_text(&c->index.descriptor, descriptor), "layers",
			 (json_int_t)c->n_layers, "source_bytes", (json_int_t)c->source_bytes, "tar_bytes",
			 (json_int_t)c->read.tar_bytes, "image_bytes", (json_int_t)c->index.image_size,
			 "sealed_bytes", (json_int_t)c->stored.bytes, "index_bytes",
			 (json_int_t)c->index.size, "chunks", (json_int_t)c->index.n_chunks, "blobs",
			 (json_int_t)c->stored.blobs, "blobs_present", (json_int_t)c->stored.blobs_present,
			 "bytes_saved", (json_int_t)c->stored.bytes_saved, "duration_ms",
			 (json_int_t)c->duration_ms);
}

int sealing_print_json(json_t *json)
{
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;

	json_decref(json);
	return r == 0 && putchar('\n') != EOF ? 0 : -EIO;
}

void sealing_print(const struct convert_options *o, const struct convert_result *c)
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
