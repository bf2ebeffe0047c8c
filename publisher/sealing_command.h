/* SPDX-License-Identifier: Apache-2.0
 * The command line of those commands that seal an image. */
#ifndef COCOON_PUBLISHER_SEALING_COMMAND_H
#define COCOON_PUBLISHER_SEALING_COMMAND_H

#include "proto/base/err.h"
#include "publisher/command.h"
#include "publisher/convert.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>

struct sealing_command {
	struct convert_options convert;
	bool json;
};

/* For getopt_long(), whose short options are "hqj"; -h is the caller's. */
/* clang-format off */
#define SEALING_OPTIONS \
	REMOTE_OPTIONS, \
	{"recipient", required_argument, NULL, 'r'}, \
	{"image-key", required_argument, NULL, 'i'}, \
	{"domain", required_argument, NULL, 'd'}, \
	{"platform", required_argument, NULL, 'p'}, \
	{"public", required_argument, NULL, 'u'}, \
	{"level", required_argument, NULL, 'l'}, \
	{"pad", required_argument, NULL, 'P'}, \
	{"threads", required_argument, NULL, 't'}, \
	{"mount-from", required_argument, NULL, 'm'}, \
	{"quiet", no_argument, NULL, 'q'}, \
	{"json", no_argument, NULL, 'j'}, \
	{"help", no_argument, NULL, 'h'}
/* clang-format on */

/* clang-format off */
#define SEALING_HELP_KEYS \
	"Keys; at least one of the first two:\n" \
	"  --recipient FILE     wrap the image key for this public key (PEM: RSA or EC; also jwe:FILE).\n" \
	"  --recipient provider:attestation-agent:PARAMETERS\n" \
	"                       have the key provider wrap it that OCICRYPT_KEYPROVIDER_CONFIG names, for\n" \
	"                       guests that ask the Confidential Data Hub. May be given more than once\n" \
	"  --image-key FILE     use this image key, from cocoon keygen image, instead of a new one\n" \
	"  --domain FILE        secret of those who share chunks, from cocoon keygen domain. Without it the\n" \
	"                       image gets a secret of its own and shares nothing\n" \
	"\n"
#define SEALING_HELP_CONTENT \
	"What is sealed, and how:\n" \
	"  --platform P         os/architecture[/variant] to take from an image index (this machine's)\n" \
	"  --public FIELD,...   config fields to leave readable: Env, Entrypoint, Cmd, WorkingDir, Labels,\n" \
	"                       ExposedPorts, Volumes, StopSignal, created, history, or all. Always " \
	"readable:\n" \
	"                       platform, numeric user, layer digests\n"
#define SEALING_HELP_REST \
	"  --level N            zstd level, 1 to 19 (7)\n" \
	"  --pad none|padme     hide all but the first bits of chunk sizes, for 2 % more bytes (padme)\n" \
	"  --threads N          threads that seal (one for each processor)\n" \
	"\n" \
	"Registry and output:\n" REMOTE_HELP \
	"  --mount-from REPO    another repository of the destination's registry that may hold the blobs\n" \
	"  --quiet              no progress bar and no summary\n" \
	"  --json               the summary as JSON\n"
/* clang-format on */

void sealing_command_init(struct sealing_command *c);
/* One option of SEALING_OPTIONS. 0, or -EINVAL with words. */
int sealing_command_option(struct sealing_command *c, int option, const char *value, struct err *e);
/* The two arguments, and what cannot be told from one option alone. 0, or -EINVAL with words. */
int sealing_command_images(struct sealing_command *c, int n, char **images, struct err *e);

/* The summary as an object that the caller owns; NULL without memory. */
json_t *sealing_json(const struct convert_result *result);
int sealing_print_json(json_t *json); /* prints and releases it; 0 or -EIO, also for NULL */
void sealing_print(const struct convert_options *o, const struct convert_result *c);

#endif
