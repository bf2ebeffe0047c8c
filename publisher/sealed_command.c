/* SPDX-License-Identifier: Apache-2.0
 * Options and opening, once for the commands that look into sealed images. */
#include "publisher/sealed_command.h"
#include "publisher/sealed_source.h"

#include <errno.h>
#include <stdio.h>

static const struct option options[] = {
	REMOTE_OPTIONS,
	{"key", required_argument, NULL, 'k'},
	{"policy", required_argument, NULL, OPTION_OWN},
	{"platform", required_argument, NULL, 'p'},
	{"quiet", no_argument, NULL, 'q'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int take_option(struct sealed_command *c, int option, const char *value, struct err *e)
{
	if (remote_option(&c->remote, option, value))
		return 0;
	if (option == 'k')
		return key_specs_add(&c->keys, value, e);
	if (option == 'p')
		return oci_platform_parse(&c->platform, value, e);
	if (option == 'q')
		c->quiet = true;
	else if (option == OPTION_OWN && c->takes_policy && !c->policy)
		c->policy = value;
	else if (option == 'j' && c->takes_json)
		c->json = true;
	else
		return err_set(e, -EINVAL, "unknown option, or one that was given twice");
	return 0;
}

bool sealed_command_parse(struct sealed_command *c, int argc, char **argv, int *code)
{
	struct err e = {{0}};
	int option, r = 0;

	oci_platform_host(&c->platform);
	while (r == 0 && (option = getopt_long(argc, argv, "hqj", options, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(c->help, stdout);
			*code = EXIT_DONE;
			return false;
		}
		r = take_option(c, option, optarg, &e);
	}
	if (r == 0 && argc - optind != c->n_arguments)
		r = err_set(&e, -EINVAL,
			    c->n_arguments == 1 ? "an image is needed" : "an image and a path are needed");
	if (r == 0)
		r = reference_parse(&c->ref, argv[optind], &e);
	if (r < 0) {
		*code = command_usage(c->name, "%s", e.text);
		return false;
	}
	if (c->n_arguments > 1)
		c->argument = argv[optind + 1];
	return true;
}

int sealed_command_open(const struct sealed_command *c, struct image **out, struct err *e)
{
	struct key_specs keys = c->keys;
	struct image_options o = {.find_key = key_specs_find, .find_key_arg = &keys};
	struct policy policy = {0};
	struct source *source;
	int r = c->policy ? policy_read(&policy, c->policy, e) : 0;

	if (r == 0)
		r = sealed_source_open(&source, &c->ref, &c->platform, &c->remote, e);
	if (r == 0) {
		key_specs_load(&keys);
		o.policy = c->policy ? &policy : NULL;
		r = image_open(out, source, &o, e);
		key_specs_wipe(&keys);
		if (r < 0)
			source->ops->close(source);
	}
	policy_deinit(&policy);
	return r;
}
