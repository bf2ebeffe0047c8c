/* SPDX-License-Identifier: Apache-2.0
 * cocoon optimize: the command line, and what is told at the end. */
#include "proto/base/io.h"
#include "publisher/optimize.h"
#include "publisher/progress.h"
#include "publisher/sealing_command.h"
#include "publisher/startup_list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PERIOD_MS 10000
#define MAX_PERIOD_MS 3600000

static const char help[] =
	"Usage: cocoon optimize [OPTION]... SOURCE DESTINATION [-- COMMAND [ARGUMENT]...]\n"
	"\n"
	"Runs an image, records what its start touches, and seals it so that guests fetch that at once, "
	"from\n"
	"one place, before anything else. SOURCE and DESTINATION are registry/repository:tag or\n"
	"oci:DIRECTORY[:tag]; SOURCE is not sealed. Without COMMAND it is the image's own. Takes root: the\n"
	"program runs on this machine, in namespaces of its own, without a network.\n"
	"\n"
	"  --period TIME        stop the program after this, for example 5s or 500ms (10s)\n"
	"  --record FILE        also write the record to this new file, for cocoon convert --startup\n"
	"\n" SEALING_HELP_KEYS SEALING_HELP_CONTENT SEALING_HELP_REST;

static const struct option options[] = {
	SEALING_OPTIONS,
	{"period", required_argument, NULL, 'T'},
	{"record", required_argument, NULL, 'R'},
	{NULL, 0, NULL, 0},
};

struct optimize_command {
	struct sealing_command sealing;
	struct optimize_options optimize;
	const char *record; /* NULL: none */
};

static int period_option(unsigned *out, const char *text, struct err *e)
{
	char *unit;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &unit, 10);
	if (unit != text && errno == 0 && strcmp(unit, "s") == 0 && v <= MAX_PERIOD_MS / 1000)
		v *= 1000;
	else if (unit == text || errno != 0 || strcmp(unit, "ms") != 0)
		v = 0;
	if (v < 1 || v > MAX_PERIOD_MS || *text == '-')
		return err_set(e, -EINVAL, "--period takes a time up to one hour, as 5s or 500ms");
	*out = (unsigned)v;
	return 0;
}

static int parse(struct optimize_command *c, int argc, char **argv, bool *done, struct err *e)
{
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "hqj", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(help, stdout);
			*done = true;
			return 0;
		}
		if (option == 'T')
			r = period_option(&c->optimize.period_ms, optarg, e);
		else if (option == 'R')
			c->record = optarg;
		else
			r = sealing_command_option(&c->sealing, option, optarg, e);
	}
	if (r < 0)
		return r;
	argv += optind;
	argc -= optind;
	c->optimize.command = argc > 2 ? argv + 2 : argv + argc; /* none */
	if (argc > 2)
		argc = 2;
	return sealing_command_images(&c->sealing, argc, argv, e);
}

static int run(struct optimize_command *c, struct optimize_result *out, struct err *e)
{
	cleanup_buf struct buf record = {.max = STARTUP_LIST_MAX};
	uint64_t started = clock_ms();
	int r;

	c->optimize.convert = c->sealing.convert;
	r = optimize_record(&c->optimize, &record, out, e);
	if (r == 0 && c->record) /* it tells what the image does: nobody else's */
		r = file_create(AT_FDCWD, c->record, record.data, record.size, 0600, e);
	if (r == 0) {
		c->sealing.convert.startup = &record;
		r = convert(&c->sealing.convert, &out->convert, e);
		c->sealing.convert.startup = NULL;
	}
	out->duration_ms = clock_ms() - started;
	return r;
}

static json_t *summary(const struct optimize_result *o)
{
	json_t *j = sealing_json(&o->convert);

	if (j &&
	    json_object_update_new(j, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "touched_bytes",
						(json_int_t)o->touched_bytes, "ahead_bytes",
						(json_int_t)o->ahead_bytes, "reads", (json_int_t)o->reads,
						"startup_blob_bytes", (json_int_t)o->convert.startup_bytes,
						"listed_chunks", (json_int_t)o->convert.index.n_startup,
						"listed_bytes", (json_int_t)o->convert.index.startup_stored,
						"duration_ms", (json_int_t)o->duration_ms)) < 0) {
		json_decref(j);
		j = NULL;
	}
	return j;
}

static void print(const struct optimize_command *c, const struct optimize_result *o)
{
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	sealing_print(&c->sealing.convert, &o->convert);
	(void)printf("  touched     %s by the program, %s more by reading ahead, %" PRIu64 " reads\n",
		     size_text(o->touched_bytes, a), size_text(o->ahead_bytes, b), o->reads);
	(void)printf("  start       %u chunks in %s, fetched before anything else\n",
		     o->convert.index.n_startup, size_text(o->convert.index.startup_stored, a));
}

int command_optimize(int argc, char **argv)
{
	struct optimize_command c = {.optimize = {.period_ms = DEFAULT_PERIOD_MS}};
	struct optimize_result result = {0};
	struct err e = {{0}};
	bool done = false;
	int r;

	sealing_command_init(&c.sealing);
	r = parse(&c, argc, argv, &done, &e);
	if (done)
		return EXIT_DONE;
	if (r < 0)
		return command_usage("optimize", "%s", e.text);
	r = run(&c, &result, &e);
	if (r < 0)
		return command_failed("optimize", r, &e);
	if (c.sealing.json)
		r = sealing_print_json(summary(&result));
	else if (!c.sealing.convert.quiet)
		print(&c, &result);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
