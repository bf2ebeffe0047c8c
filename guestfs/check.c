/* SPDX-License-Identifier: Apache-2.0
 * For whoever builds a guest's kernel or image: run it there, and it tells before the first pod does. */
#include "guestfs/check.h"
#include "guestfs/kernel_options.h"
#include "guestfs/options.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: cocoon-guestfs check [OPTION]...\n"
	"\n"
	"Asks the running kernel for what serve and its mounts need, as root in the pod's virtual machine.\n"
	"\n"
	"  --host ADDRESS   of the host (vsock:2)\n"
	"  --front FRONT    auto (default), block, loop or tree\n"
	"  --json           for programs\n"
	"  --help\n"
	"\n"
	"Exit codes: 0 nothing that is needed is missing, 1 wrong usage, 2 something is.\n";

struct check {
	struct kernel_use use;
	struct address host;
	bool json;
};

static int parse(struct check *c, int argc, char **argv, struct err *e)
{
	static const struct option names[] = {
		{"host", required_argument, NULL, 'o'},
		{"front", required_argument, NULL, 'f'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int option, r = address_parse(&c->host, "vsock:2", e);

	while (r == 0 && (option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'o':
			r = address_parse(&c->host, optarg, e);
			break;
		case 'f':
			r = options_front(&c->use.front, optarg, e);
			break;
		case 'j':
			c->json = true;
			break;
		case 'h':
			(void)fputs(help, stdout);
			return OPTIONS_DONE;
		default:
			return err_set(e, -EINVAL, "an unknown option; see cocoon-guestfs check --help");
		}
	}
	if (r == 0 && optind != argc)
		r = err_set(e, -EINVAL, "\"%.64s\" is one word too many; see cocoon-guestfs check --help",
			    argv[optind]);
	return r;
}

static const char *answer_name(enum kernel_answer a)
{
	return a == KERNEL_HAS ? "yes" : a == KERNEL_LACKS ? "no" : "unknown";
}

static int print_json(const struct check *c, const enum kernel_answer *answers)
{
	json_t *all = json_array();
	int r = all ? 0 : -ENOMEM;

	for (enum kernel_option o = 0; r == 0 && o < KERNEL_OPTIONS; o++)
		r = json_array_append_new(all,
					  json_pack("{s:s, s:s, s:b, s:s}", "option", kernel_option_name(o),
						    "there", answer_name(answers[o]), "needed",
						    kernel_option_is_needed(o, &c->use, kernel_ask),
						    "purpose", kernel_option_purpose(o)));
	if (r == 0)
		r = json_dumpf(all, stdout, JSON_INDENT(2));
	json_decref(all);
	return r < 0 ? -ENOMEM : 0;
}

static void print_table(const struct check *c, const enum kernel_answer *answers)
{
	(void)printf("%-32s %-8s %-7s %s\n", "OPTION", "THERE", "NEEDED", "FOR");
	for (enum kernel_option o = 0; o < KERNEL_OPTIONS; o++)
		(void)printf("%-32s %-8s %-7s %s\n", kernel_option_name(o), answer_name(answers[o]),
			     kernel_option_is_needed(o, &c->use, kernel_ask) ? "yes" : "no",
			     kernel_option_purpose(o));
}

int check_main(int argc, char **argv)
{
	enum kernel_answer answers[KERNEL_OPTIONS];
	struct check c = {.use = {.front = FRONT_AUTO, .pods = true}};
	struct err e = {""};
	int r;

	c.use.host = &c.host;
	r = parse(&c, argc, argv, &e);
	if (r == OPTIONS_DONE)
		return EXIT_GOOD;
	if (r < 0) {
		(void)fprintf(stderr, "cocoon-guestfs check: %s\n", e.text);
		return EXIT_USAGE;
	}
	for (enum kernel_option o = 0; o < KERNEL_OPTIONS; o++)
		answers[o] = kernel_ask(o);
	if (!c.json)
		print_table(&c, answers);
	else if (print_json(&c, answers) < 0)
		return EXIT_SYSTEM;
	r = kernel_options_check(&c.use, kernel_ask, &e);
	if (r < 0)
		(void)fprintf(stderr, "cocoon-guestfs check: %s\n", e.text);
	return r < 0 ? EXIT_SYSTEM : EXIT_GOOD;
}
