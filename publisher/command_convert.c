/* SPDX-License-Identifier: Apache-2.0
 * cocoon convert: the command line. */
#include "proto/base/io.h"
#include "publisher/sealing_command.h"
#include "publisher/startup_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static const char help[] =
	"Usage: cocoon convert [OPTION]... SOURCE DESTINATION\n"
	"\n"
	"Seals an image. SOURCE and DESTINATION are registry/repository:tag or oci:DIRECTORY[:tag].\n"
	"\n" SEALING_HELP_KEYS SEALING_HELP_CONTENT
	"  --startup FILE       paths, one a line, that a guest fetches ahead of need, always in one "
	"order\n" SEALING_HELP_REST;

static const struct option options[] = {
	SEALING_OPTIONS,
	{"startup", required_argument, NULL, 's'},
	{NULL, 0, NULL, 0},
};

static int read_startup(struct sealing_command *c, struct buf *startup, const char *path, struct err *e)
{
	if (c->convert.startup)
		return err_set(e, -EINVAL, "--startup was given twice");
	c->convert.startup = startup;
	return file_read(AT_FDCWD, path, startup, e);
}

static int parse(struct sealing_command *c, struct buf *startup, int argc, char **argv, bool *done,
		 struct err *e)
{
	int option, r = 0;

	while (r == 0 && (option = getopt_long(argc, argv, "hqj", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(help, stdout);
			*done = true;
			return 0;
		}
		r = option == 's' ? read_startup(c, startup, optarg, e)
				  : sealing_command_option(c, option, optarg, e);
	}
	return r < 0 ? r : sealing_command_images(c, argc - optind, argv + optind, e);
}

int command_convert(int argc, char **argv)
{
	cleanup_buf struct buf startup = {.max = STARTUP_LIST_MAX};
	struct sealing_command c;
	struct convert_result result;
	struct err e = {{0}};
	bool done = false;
	int r;

	sealing_command_init(&c);
	r = parse(&c, &startup, argc, argv, &done, &e);
	if (done)
		return EXIT_DONE;
	if (r < 0)
		return command_usage("convert", "%s", e.text);
	r = convert(&c.convert, &result, &e);
	if (r < 0)
		return command_failed("convert", r, &e);
	if (c.json)
		r = sealing_print_json(sealing_json(&result));
	else if (!c.convert.quiet)
		sealing_print(&c.convert, &result);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
