/* SPDX-License-Identifier: Apache-2.0
 * The commands of `cocoon`, and what they share: exit codes, common options, how failure is told. */
#ifndef COCOON_PUBLISHER_COMMAND_H
#define COCOON_PUBLISHER_COMMAND_H

#include "proto/base/err.h"
#include "publisher/remote.h"

#include <stdbool.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* no such image, no key, network, disk … */
	EXIT_USAGE = 2,	 /* the command line makes no sense */
	EXIT_INVALID =
		3, /* the image was read and is refused: not valid, not as promised, not for this version */
};

/* argv[0] is the command's name. Returns an exit code. */
typedef int command_main(int argc, char **argv);

command_main command_keygen, command_convert, command_optimize, command_inspect, command_verify,
	command_export, command_mount, command_pull;

/* "cocoon NAME: words" on stderr, and the exit code that fits. */
int command_failed(const char *name, int error, const struct err *e);
/* The words, a hint at --help, EXIT_USAGE. */
int command_usage(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Long options that every command that meets a registry knows: values for getopt_long() outside of char. */
enum { OPTION_PLAIN_HTTP = 256, OPTION_CA, OPTION_AUTHFILE, OPTION_OWN };
/* clang-format off */
#define REMOTE_OPTIONS \
	{"plain-http", no_argument, NULL, OPTION_PLAIN_HTTP}, \
	{"ca", required_argument, NULL, OPTION_CA}, \
	{"authfile", required_argument, NULL, OPTION_AUTHFILE}
/* clang-format on */
#define REMOTE_HELP                                                                                          \
	"  --plain-http         speak to the registry without TLS\n"                                         \
	"  --ca FILE            certificates to trust for the registry (PEM)\n"                              \
	"  --authfile FILE      credentials in the form of docker's config.json\n"
/* True when `option` was one of them. */
bool remote_option(struct remote *remote, int option, const char *value);

#endif
