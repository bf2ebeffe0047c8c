/* SPDX-License-Identifier: Apache-2.0
 * `cocoon`: the publisher's and operator's command. Here is only the table of commands and what they share.
 */
#include "crypto/process.h"
#include "proto/base/log.h"
#include "publisher/command.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	command_main *main;
	const char *summary;
} commands[] = {
	{"keygen", command_keygen, "make a secret or a key pair"},
	{"convert", command_convert, "seal an image"},
	{"optimize", command_optimize, "run an image, seal it for a fast start"},
	{"inspect", command_inspect, "show what a sealed image is"},
	{"verify", command_verify, "check every byte of a sealed image"},
	{"export", command_export, "write the plaintext filesystem to a file"},
	{"mount", command_mount, "mount a sealed image"},
	{"pull", command_pull, "give a sealed image to containerd"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

int command_failed(const char *name, int error, const struct err *e)
{
	(void)fprintf(stderr, "cocoon %s: %s\n", name, e->text[0] ? e->text : strerror(-error));
	return error == -EBADMSG || error == -EUCLEAN || error == -ENOTSUP ? EXIT_INVALID : EXIT_FAILED;
}

int command_usage(const char *name, const char *format, ...)
{
	va_list args;

	(void)fprintf(stderr, "cocoon %s: ", name);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fprintf(stderr, "\nTry: cocoon %s --help\n", name);
	return EXIT_USAGE;
}

bool remote_option(struct remote *remote, int option, const char *value)
{
	switch (option) {
	case OPTION_PLAIN_HTTP:
		remote->plain_http = true;
		return true;
	case OPTION_CA:
		remote->ca_file = value;
		return true;
	case OPTION_AUTHFILE:
		remote->auth_file = value;
		return true;
	default:
		return false;
	}
}

static void help(FILE *to)
{
	(void)fputs("cocoon seals container images, so that a host can stream what it cannot read.\n"
		    "\n"
		    "Usage: cocoon COMMAND [OPTION]... ARGUMENT...\n"
		    "\n",
		    to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		(void)fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
	(void)fputs("\n"
		    "cocoon COMMAND --help tells more. Images are named\n"
		    "  registry/repository:tag, registry/repository@sha256:..., oci:DIRECTORY[:tag]\n"
		    "\n"
		    "A first round, with nothing but files:\n"
		    "  cocoon keygen domain tenant.secret       who may share chunks with whom\n"
		    "  cocoon keygen recipient guest.pem        who may open the image: guest.pem and "
		    "guest.pem.pub\n"
		    "  cocoon convert --domain tenant.secret --recipient guest.pem.pub oci:plain oci:sealed\n"
		    "  cocoon verify --key recipient:guest.pem oci:sealed\n"
		    "\n"
		    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the image is not valid.\n",
		    to);
}

int main(int argc, char **argv)
{
	int r;

	log_init("cocoon", LOG_LEVEL_INFO);
	r = process_hide_memory();
	if (r < 0) {
		log_error("cannot turn off core files: %s", strerror(-r));
		return EXIT_FAILED;
	}
	/* a reader that went away is told by write(2) */
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		help(stdout);
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("cocoon %s\n", COCOON_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	(void)fprintf(stderr, "cocoon: no command %s\nTry: cocoon --help\n", argv[1]);
	return EXIT_USAGE;
}
