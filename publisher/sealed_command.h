/* SPDX-License-Identifier: Apache-2.0
 * What inspect, verify and export share: the options that name a sealed image and a key, and opening it with
 * the guest's reader. */
#ifndef COCOON_PUBLISHER_SEALED_COMMAND_H
#define COCOON_PUBLISHER_SEALED_COMMAND_H

#include "guestfs/image.h"
#include "guestfs/key_spec.h"
#include "proto/base/err.h"
#include "proto/oci/manifest.h"
#include "proto/oci/reference.h"
#include "publisher/command.h"

#include <getopt.h>
#include <stdbool.h>

struct sealed_command {
	const char *name; /* of the command */
	const char *help;
	bool takes_json; /* --json */
	bool takes_policy;
	int n_arguments; /* REF and what else it takes */
	struct remote remote;
	struct oci_platform platform;
	struct key_specs keys;
	const char *policy; /* a file, or NULL */
	bool quiet, json;
	struct reference ref; /* the first argument */
	const char *argument; /* the second, when there is one */
};

#define POLICY_HELP                                                                                          \
	"  --policy FILE        refuse an image that this file does not list, see cocoon-guestfs(8)\n"

#define SEALED_HELP                                                                                          \
	"  --key file:FILE      the image key, from cocoon keygen image\n"                                   \
	"  --key recipient:FILE the private key of a recipient (PEM)\n"                                      \
	"  --key cdh            the Confidential Data Hub. Several keys are tried in turn\n"                 \
	"  --platform P         os/architecture[/variant] to take from an image index (this "                \
	"machine's)\n" REMOTE_HELP

/* Read the command line. True when the command is to go on; else *code is what to exit with. */
bool sealed_command_parse(struct sealed_command *c, int argc, char **argv, int *code);

/* Open the image with the keys given, if the policy allows it. 0, or a negative errno with words. */
int sealed_command_open(const struct sealed_command *c, struct image **out, struct err *e);

#endif
