/* SPDX-License-Identifier: Apache-2.0
 * nydus-overlayfs-cocoon: mounts on the host what the kata road answers for a container. containerd does not
 * know the type fuse.nydus-overlayfs-cocoon, so it runs mount.fuse, which runs the program that the type is
 * named after. Kata's runtime sees the type and leaves it alone: only containerd's look-ups come here. */
#include "proto/base/cleanup.h"
#include "snapshotter/overlay_options.h"

#include <getopt.h>
#include <string.h>
#include <sys/mount.h>

/* As mount(8) exits. */
enum { EXIT_MOUNTED = 0, EXIT_USAGE = 1, EXIT_NOT_MOUNTED = 32 };

static const char usage[] =
	"usage: nydus-overlayfs-cocoon overlay DIRECTORY -o OPTION[,OPTION]…\n"
	"\n"
	"Mounts an overlay on DIRECTORY, without the options that are for Kata Containers\n"
	"(io.katacontainers.volume=, extraoption=). containerd runs it, by mount.fuse, for the kata road\n"
	"of cocoon-snapshotter: it must be in containerd's PATH under this name.\n"
	"\n"
	"  -o OPTIONS   lowerdir= upperdir= workdir= index=, ro rw dev nodev suid nosuid exec noexec\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 mounted, 1 wrong usage, 32 not mounted.\n";

static int fail(int status, const char *words)
{
	(void)fprintf(stderr, "nydus-overlayfs-cocoon: %s\n", words);
	return status;
}

static int mount_overlay(const char *target, const struct overlay_options *o)
{
	struct err e = {""};

	if (mount("overlay", target, "overlay", o->flags, o->data.data) == 0)
		return EXIT_MOUNTED;
	(void)err_errno(&e, -errno, "mounting an overlay on %s", target);
	return fail(EXIT_NOT_MOUNTED, e.text);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
	cleanup_overlay_options struct overlay_options o;
	struct err e = {""};
	int c;

	overlay_options_init(&o);
	while ((c = getopt_long(argc, argv, "o:", options, NULL)) >= 0) {
		switch (c) {
		case 'o':
			if (overlay_options_add(&o, optarg, &e) < 0)
				return fail(EXIT_USAGE, e.text);
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return EXIT_MOUNTED;
		case 'v':
			(void)puts("nydus-overlayfs-cocoon " COCOON_VERSION);
			return EXIT_MOUNTED;
		default:
			(void)fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 2) {
		(void)fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[optind], "overlay") != 0)
		return fail(EXIT_USAGE, "only overlay can be mounted");
	if (overlay_options_end(&o, &e) < 0)
		return fail(EXIT_USAGE, e.text);
	return mount_overlay(argv[optind + 1], &o);
}
