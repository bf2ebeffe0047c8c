/* SPDX-License-Identifier: Apache-2.0
 * Options by name and value, the same whether they come as --name VALUE or, through mount(8), as -o
 * name=value. */
#include "guestfs/options.h"
#include "guestfs/source_wire.h"
#include "proto/base/cleanup.h"
#include "proto/wire/address.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
	"Usage: cocoon-guestfs [OPTION]... IMAGE DIRECTORY\n"
	"   or: mount -t cocoon IMAGE DIRECTORY -o key=SPEC[,host=ADDRESS][,NAME=VALUE]...\n"
	"   or: cocoon-guestfs serve [OPTION]...   in a pod's virtual machine; see serve --help\n"
	"   or: cocoon-guestfs check [OPTION]...   what the kernel has of what is needed; see check --help\n"
	"\n"
	"Mounts a sealed image on DIRECTORY. Every byte comes from an untrusted host, is checked against "
	"the\n"
	"image's identity and decrypted here. The command returns when the mount can be used; the program "
	"stays\n"
	"in the background and ends with the mount: umount DIRECTORY.\n"
	"\n"
	"IMAGE is registry/repository:tag or registry/repository@sha256:DIGEST, as the host should ask for "
	"it.\n"
	"\n"
	"  --key SPEC          where the image's key comes from; may be given several times, the first that "
	"fits\n"
	"                      is used:\n"
	"                        file:PATH       an image key file (cocoon keygen image)\n"
	"                        recipient:PATH  a private key in PEM that the image was sealed for\n"
	"                        cdh, cdh:ADDRESS  the Confidential Data Hub unwraps it\n"
	"                                        (" KEY_CDH_ADDRESS ")\n"
	"  --host ADDRESS      unix:PATH or vsock:CID:PORT of the host (" WIRE_DEFAULT_ADDRESS "), or\n"
	"                      tls:IP:PORT:sha256:PIN over a network, PIN being the digest of the host's "
	"key\n"
	"  --tls-identity FILE certificate and private key (PEM) that a host with tls: knows this guest by\n"
	"  --digest DIGEST     refuse any image but the one whose manifest or descriptor has this digest\n"
	"                      (sha256:...); a digest in IMAGE does the same for the manifest\n"
	"  --policy FILE       refuse any image that this file does not list (JSON, see cocoon-guestfs(8))\n"
	"  --front FRONT       auto (default), block: the kernel's EROFS on a file, loop: the same over a "
	"loop\n"
	"                      device, tree: served by this program, which needs no EROFS and no root\n"
	"  --cache-size BYTES  memory for chunks, kept or on their way, and for the host's answers (32M)\n"
	"  --timeout SECONDS   how long a read may wait for the host before it fails (30)\n"
	"  --wait SECONDS      how long the mount may wait for a host that is not there (0)\n"
	"  --nosuid, --nodev, --noexec\n"
	"                      as in mount(8); by default the image is like an unpacked one\n"
	"  --foreground        stay in the foreground and log to standard error\n"
	"  --print-manifest    say on standard output which manifest was mounted, by its digest, or "
	"error=ERRNO\n"
	"  --log-level LEVEL   error, warn, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"Signals: TERM and INT unmount and end; USR1 writes figures to the log.\n"
	"Exit codes: 0 mounted (with --foreground: unmounted again), 1 wrong usage, 2 a system call failed,\n"
	"32 the image was not mounted.\n"
	"\n"
	"Example:\n"
	"  cocoon-guestfs --key file:app.key localhost:5000/app:1 /mnt\n";

static int parse_size(size_t *out, const char *text, struct err *e)
{
	char *end;
	unsigned long long v;
	unsigned int shift;

	errno = 0;
	v = strtoull(text, &end, 10);
	shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (shift)
		end++;
	if (errno || *end || end == text || text[0] == '-' || v == 0 || v > (SIZE_MAX >> shift))
		return err_set(e, -EINVAL, "cache size \"%s\": expected a number of bytes, as in 64M", text);
	*out = (size_t)v << shift;
	return 0;
}

static int parse_seconds(unsigned int *ms, const char *name, unsigned int least, const char *text,
			 struct err *e)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno || *end || end == text || text[0] == '-' || v < least || v > 86400)
		return err_set(e, -EINVAL, "%s \"%s\": expected %u to 86400 seconds", name, text, least);
	*ms = (unsigned int)v * 1000;
	return 0;
}

int options_front(enum front_kind *out, const char *text, struct err *e)
{
	static const char *const names[] = {
		[FRONT_AUTO] = "auto", [FRONT_BLOCK] = "block", [FRONT_LOOP] = "loop", [FRONT_TREE] = "tree"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*out = (enum front_kind)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "front \"%s\": expected auto, block, loop or tree", text);
}

/* Two policies would be a question which one holds. */
static int set_policy(struct options *o, const char *path, struct err *e)
{
	int r;

	if (o->has_policy)
		return err_set(e, -EINVAL, "more than one policy");
	r = policy_read(&o->policy, path, e);
	o->has_policy = r == 0;
	return r < 0 ? err_prefix(e, r, "policy") : 0;
}

/* One option with a value. -ENOENT: there is none of that name. */
static int set_value(struct options *o, const char *name, const char *value, struct err *e)
{
	if (strcmp(name, "key") == 0)
		return key_specs_add(&o->keys, value, e);
	if (strcmp(name, "host") == 0) {
		o->host = value;
		return 0;
	}
	if (strcmp(name, "tls-identity") == 0) {
		o->tls_identity = value;
		return 0;
	}
	if (strcmp(name, "digest") == 0) {
		o->has_digest = true;
		return digest_parse(&o->digest, value) < 0
			       ? err_set(e, -EINVAL, "digest \"%s\": expected sha256: and 64 hex digits",
					 value)
			       : 0;
	}
	if (strcmp(name, "policy") == 0)
		return set_policy(o, value, e);
	if (strcmp(name, "front") == 0)
		return options_front(&o->front.kind, value, e);
	if (strcmp(name, "cache-size") == 0)
		return parse_size(&o->cache_bytes, value, e);
	if (strcmp(name, "timeout") == 0)
		return parse_seconds(&o->timeout_ms, name, 1, value, e);
	if (strcmp(name, "wait") == 0)
		return parse_seconds(&o->wait_ms, name, 0, value, e);
	if (strcmp(name, "log-level") == 0)
		return log_level_parse(&o->log_level, value) < 0
			       ? err_set(e, -EINVAL, "log level \"%s\": expected error, warn, info or debug",
					 value)
			       : 0;
	return -ENOENT;
}

static int set_flag(struct options *o, const char *name)
{
	if (strcmp(name, "nosuid") == 0)
		o->front.nosuid = true;
	else if (strcmp(name, "nodev") == 0)
		o->front.nodev = true;
	else if (strcmp(name, "noexec") == 0)
		o->front.noexec = true;
	else if (strcmp(name, "foreground") == 0)
		o->foreground = true;
	else if (strcmp(name, "print-manifest") == 0)
		o->print_manifest = true;
	else
		return -ENOENT;
	return 0;
}

/* What mount(8) passes to every helper, and what is true of this filesystem anyway. */
static bool is_generic(const char *name)
{
	static const char *const generic[] = {"ro",	    "rw",	  "defaults", "auto",	 "noauto",
					      "_netdev",    "nofail",	  "suid",     "dev",	 "exec",
					      "nouser",	    "async",	  "relatime", "noatime", "nodiratime",
					      "norelatime", "strictatime"};

	for (size_t i = 0; i < sizeof(generic) / sizeof(generic[0]); i++)
		if (strcmp(name, generic[i]) == 0)
			return true;
	return strncmp(name, "x-", 2) == 0;
}

/* "-o a,b=c,…"; the list is cut in place. A name may be written with _ for -, as others do. */
static int parse_list(struct options *o, char *list, struct err *e)
{
	char *state = NULL;

	for (char *item = strtok_r(list, ",", &state); item; item = strtok_r(NULL, ",", &state)) {
		char *value = strchr(item, '=');
		int r;

		if (value)
			*value++ = '\0';
		for (char *c = item; *c; c++)
			if (*c == '_' && c > item)
				*c = '-';
		if (is_generic(item))
			continue;
		r = value ? set_value(o, item, value, e) : set_flag(o, item);
		if (r == -ENOENT)
			r = err_set(e, -EINVAL, "mount option \"%s\" is not known, or lacks its value", item);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The host decides what a tag means, and whoever has a recipient's public key can seal an image for it. */
static int check_identity(const struct options *o, struct err *e)
{
	if (o->image.has_digest || o->has_digest || o->has_policy || !key_specs_fit_anyones(&o->keys))
		return 0;
	return err_set(
		e, -EINVAL,
		"with a recipient's key a tag says nothing about who made the image: give its digest, in "
		"its name (registry/repository@sha256:...) or with --digest, or a --policy that lists it");
}

/* The daemon leaves the directory that it was started in. */
static int make_host_absolute(struct options *o, struct err *e)
{
	cleanup_free char *here = NULL;

	if (strncmp(o->host, "unix:", 5) != 0 || o->host[5] == '/' || o->host[5] == '\0')
		return 0;
	here = getcwd(NULL, 0);
	if (!here)
		return err_errno(e, -errno, "the current directory");
	if (asprintf(&o->host_owned, "unix:%s/%s", here, o->host + 5) < 0) {
		o->host_owned = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	o->host = o->host_owned;
	return 0;
}

static int parse_image(struct options *o, const char *image, const char *directory, struct err *e)
{
	struct address host;
	struct stat st;
	int r = reference_parse(&o->image, image, e);

	if (r == 0)
		r = make_host_absolute(o, e);
	if (r == 0)
		r = address_parse_host(&host, o->host, e);
	if (r < 0)
		return r;
	if (o->tls_identity && !host.tls)
		return err_set(e, -EINVAL, "--tls-identity is for a host with tls:, not for %s", o->host);
	if (o->keys.n == 0)
		return err_set(e, -EINVAL, "no --key was given: file:PATH or recipient:PATH");
	r = check_identity(o, e);
	if (r < 0)
		return r;
	o->target = realpath(directory, NULL);
	if (!o->target || stat(o->target, &st) < 0)
		return err_set(e, errno == ENOMEM ? -ENOMEM : -EINVAL, "%s: %s", directory, strerror(errno));
	return S_ISDIR(st.st_mode) ? 0 : err_set(e, -EINVAL, "%s is not a directory", directory);
}

/* mount.cocoon IMAGE DIRECTORY [-sfnvr] [-N NAMESPACE] [-t TYPE] [-o LIST]: the order is mount(8)'s. */
static int parse_helper(struct options *o, int argc, char **argv, struct err *e)
{
	int c, r = 0;

	while (r == 0 && (c = getopt(argc, argv, "sfnvrwN:t:o:h")) != -1) {
		if (c == 'h') {
			(void)fputs(help, stdout);
			return OPTIONS_DONE;
		}
		if (c == '?')
			return err_set(e, -EINVAL, "an unknown option; see cocoon-guestfs --help");
		if (c == 'f')
			return OPTIONS_DONE; /* "fake": everything but the mount */
		if (c == 'o')
			r = parse_list(o, optarg, e);
	}
	if (r == 0 && argc - optind != 2)
		r = err_set(e, -EINVAL, "expected an image and a directory");
	return r < 0 ? r : parse_image(o, argv[optind], argv[optind + 1], e);
}

static int parse_command(struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option names[] = {
		{"key", required_argument, NULL, 'v'},
		{"host", required_argument, NULL, 'v'},
		{"tls-identity", required_argument, NULL, 'v'},
		{"digest", required_argument, NULL, 'v'},
		{"policy", required_argument, NULL, 'v'},
		{"front", required_argument, NULL, 'v'},
		{"cache-size", required_argument, NULL, 'v'},
		{"timeout", required_argument, NULL, 'v'},
		{"wait", required_argument, NULL, 'v'},
		{"log-level", required_argument, NULL, 'v'},
		{"nosuid", no_argument, NULL, 'f'},
		{"nodev", no_argument, NULL, 'f'},
		{"noexec", no_argument, NULL, 'f'},
		{"foreground", no_argument, NULL, 'f'},
		{"print-manifest", no_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int c, which, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "h", names, &which)) != -1) {
		if (c == 'h') {
			(void)fputs(help, stdout);
			return OPTIONS_DONE;
		}
		if (c == 'V') {
			(void)puts("cocoon-guestfs " COCOON_VERSION);
			return OPTIONS_DONE;
		}
		if (c == '?')
			return err_set(e, -EINVAL, "an unknown option; see cocoon-guestfs --help");
		r = c == 'v' ? set_value(o, names[which].name, optarg, e) : set_flag(o, names[which].name);
	}
	if (r == 0 && argc - optind != 2)
		r = err_set(e, -EINVAL, "expected an image and a directory; see cocoon-guestfs --help");
	return r < 0 ? r : parse_image(o, argv[optind], argv[optind + 1], e);
}

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

	*o = (struct options){
		.host = WIRE_DEFAULT_ADDRESS,
		.timeout_ms = SOURCE_WIRE_TIMEOUT_MS,
		.log_level = LOG_LEVEL_INFO,
	};
	opterr = 0;
	return strcmp(name, "mount.cocoon") == 0 ? parse_helper(o, argc, argv, e)
						 : parse_command(o, argc, argv, e);
}

void options_deinit(struct options *o)
{
	free(o->target);
	free(o->host_owned);
	policy_deinit(&o->policy);
}
