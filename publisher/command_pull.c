/* SPDX-License-Identifier: Apache-2.0
 * cocoon pull: give a sealed image to containerd. */
#include "publisher/command.h"
#include "publisher/progress.h"
#include "publisher/pull.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: cocoon pull [OPTION]... REF\n"
	"\n"
	"Makes a sealed image known to containerd, to be streamed by cocoon-snapshotter when it runs:\n"
	"  ctr run --rm --snapshotter cocoon REF NAME COMMAND\n"
	"\n"
	"  --address SOCKET     containerd's socket ($CONTAINERD_ADDRESS, or "
	"/run/containerd/containerd.sock)\n"
	"  -n, --namespace NAME containerd's namespace ($CONTAINERD_NAMESPACE, or default)\n"
	"  --snapshotter NAME   what containerd's configuration calls cocoon-snapshotter (cocoon)\n"
	"  --platform P         os/architecture[/variant] to take from an image index (this machine's)\n"
	"  --json               tell the result as JSON\n"
	"  -q, --quiet          no progress\n" REMOTE_HELP "\n"
	"The registry options are for the manifest and the config, which this command reads; "
	"cocoon-snapshotter reads the\n"
	"layers, with its own configuration.\n";

enum { OPTION_ADDRESS = OPTION_OWN, OPTION_SNAPSHOTTER, OPTION_PLATFORM, OPTION_JSON };

struct command {
	struct pull_options options;
	bool json, quiet;
	struct reference ref;
};

static void show_progress(void *arg, uint32_t done, uint32_t total)
{
	(void)arg;
	(void)fprintf(stderr, done < total ? "\rlayer %u of %u" : "\r\033[K", done + 1, total);
}

/* True to go on; else *code is what to exit with. */
static bool parse(struct command *c, int argc, char **argv, int *code)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'},
						{"namespace", required_argument, NULL, 'n'},
						{"quiet", no_argument, NULL, 'q'},
						{"address", required_argument, NULL, OPTION_ADDRESS},
						{"snapshotter", required_argument, NULL, OPTION_SNAPSHOTTER},
						{"platform", required_argument, NULL, OPTION_PLATFORM},
						{"json", no_argument, NULL, OPTION_JSON},
						REMOTE_OPTIONS,
						{NULL, 0, NULL, 0}};
	struct err e = {""};
	int option;

	while ((option = getopt_long(argc, argv, "hn:q", options, NULL)) != -1) {
		switch (option) {
		case 'h':
			(void)fputs(help, stdout);
			*code = EXIT_DONE;
			return false;
		case 'n':
			c->options.namespace = optarg;
			break;
		case 'q':
			c->quiet = true;
			break;
		case OPTION_ADDRESS:
			c->options.address = optarg;
			break;
		case OPTION_SNAPSHOTTER:
			c->options.snapshotter = optarg;
			break;
		case OPTION_PLATFORM:
			if (oci_platform_parse(&c->options.platform, optarg, &e) < 0) {
				*code = command_usage("pull", "%s", e.text);
				return false;
			}
			break;
		case OPTION_JSON:
			c->json = true;
			break;
		default:
			if (remote_option(&c->options.remote, option, optarg))
				break;
			*code = command_usage("pull", "unknown option");
			return false;
		}
	}
	if (argc - optind != 1) {
		*code = command_usage("pull", "one REF is needed");
		return false;
	}
	if (reference_parse(&c->ref, argv[optind], &e) < 0) {
		*code = command_usage("pull", "%s", e.text);
		return false;
	}
	return true;
}

static int show_result(const struct command *c, const struct pulled *p, uint64_t took_ms)
{
	char manifest[DIGEST_TEXT_SIZE], chain[DIGEST_TEXT_SIZE];
	json_t *root;

	(void)digest_text(&p->manifest, manifest);
	(void)digest_text(&p->chain, chain);
	if (!c->json)
		return printf("%s %s\n", p->name, manifest) < 0 ? -EIO : 0;
	root = json_pack("{s:s, s:s, s:s, s:s, s:i, s:I}", "name", p->name, "manifest", manifest,
			 "snapshotter", c->options.snapshotter, "snapshot", chain, "layers", (int)p->n_layers,
			 "milliseconds", (json_int_t)took_ms);
	if (!root || json_dumpf(root, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0) {
		json_decref(root);
		return -EIO;
	}
	json_decref(root);
	return 0;
}

int command_pull(int argc, char **argv)
{
	const char *address = getenv("CONTAINERD_ADDRESS"), *namespace = getenv("CONTAINERD_NAMESPACE");
	struct command c = {.options = {.address = address ? address : "/run/containerd/containerd.sock",
					.namespace = namespace ? namespace : "default",
					.snapshotter = "cocoon"}};
	struct err e = {""};
	struct pulled pulled;
	uint64_t started;
	int r, code;

	oci_platform_host(&c.options.platform);
	if (!parse(&c, argc, argv, &code))
		return code;
	if (!c.quiet && isatty(STDERR_FILENO))
		c.options.progress = show_progress;
	started = clock_ms();
	r = pull(&c.options, &c.ref, &pulled, &e);
	if (c.options.progress)
		(void)fputs("\r\033[K", stderr);
	if (r == 0)
		r = show_result(&c, &pulled, clock_ms() - started);
	return r < 0 ? command_failed("pull", r, &e) : EXIT_DONE;
}
