/* SPDX-License-Identifier: Apache-2.0
 * cocoon keygen: the three kinds of keys that a publisher makes. */
#include "crypto/keyfile.h"
#include "crypto/keypair.h"
#include "publisher/command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: cocoon keygen domain|image|recipient FILE\n"
	"\n"
	"Makes a key from the kernel's random generator. FILE gets mode 0600 and must not exist.\n"
	"\n"
	"  domain     a secret that says who may share chunks: images sealed under one domain secret have "
	"equal\n"
	"             chunks for equal content, and only who holds it can test a chunk against a guess.\n"
	"             Make one for each tenant. It stays with the publisher.\n"
	"  image      a key that opens one image, for guests that get it as a file (cocoon convert "
	"--image-key)\n"
	"  recipient  a key pair, EC P-256: FILE is the private key, for the guest or its key broker;\n"
	"             FILE.pub is for cocoon convert --recipient\n";

static int keygen_secret(const char *path, const char *kind, struct err *e)
{
	cleanup_secret struct secret s;
	int r = secret_random(&s);

	return r < 0 ? err_errno(e, r, "no random bytes") : keyfile_write(&s, path, kind, e);
}

static int keygen_recipient(const char *path, struct err *e)
{
	char public_path[PATH_MAX];
	int n = snprintf(public_path, sizeof(public_path), "%s.pub", path);

	if (n < 0 || (size_t)n >= sizeof(public_path))
		return err_set(e, -ENAMETOOLONG, "%s", path);
	return keypair_write(path, public_path, e);
}

int command_keygen(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	struct err e = {{0}};
	const char *kind;
	int option, r;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option != 'h')
			return command_usage("keygen", "unknown option");
		(void)fputs(help, stdout);
		return EXIT_DONE;
	}
	if (argc - optind != 2)
		return command_usage("keygen", "a kind and a file are needed");
	kind = argv[optind];
	if (strcmp(kind, "domain") == 0)
		r = keygen_secret(argv[optind + 1], KEYFILE_DOMAIN, &e);
	else if (strcmp(kind, "image") == 0)
		r = keygen_secret(argv[optind + 1], KEYFILE_IMAGE, &e);
	else if (strcmp(kind, "recipient") == 0)
		r = keygen_recipient(argv[optind + 1], &e);
	else
		return command_usage("keygen", "no kind of key is called %s", kind);
	return r < 0 ? command_failed("keygen", r, &e) : EXIT_DONE;
}
