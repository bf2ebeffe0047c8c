/* SPDX-License-Identifier: Apache-2.0
 * cocoon export: the plaintext of an image as one file, an EROFS filesystem that stock tools read. */
#include "proto/base/cleanup.h"
#include "proto/base/io.h"
#include "publisher/progress.h"
#include "publisher/sealed_command.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define PIECE ((uint64_t)1 << 20)
#define AHEAD (4 * PIECE)

static const char help[] =
	"Usage: cocoon export --key SPEC [OPTION]... IMAGE FILE\n"
	"\n"
	"Writes the plaintext of a sealed image to FILE: an EROFS filesystem for fsck.erofs, dump.erofs and\n"
	"mount -t erofs. Every byte is checked on the way. FILE is there when it is complete, or not at "
	"all;\n"
	"it gets mode 0600, as it is what the image hides.\n"
	"\n" SEALED_HELP POLICY_HELP "  --quiet              no progress bar\n";

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Zeroes stay holes. */
static int copy_image(struct image *image, int fd, struct progress *progress, struct err *e)
{
	uint64_t size = image_descriptor(image)->image_size;
	cleanup_free uint8_t *piece = malloc(PIECE);
	int r = 0;

	if (!piece)
		return err_set(e, -ENOMEM, "out of memory");
	for (uint64_t at = 0, n; at < size && r == 0; at += n) {
		n = size - at < PIECE ? size - at : PIECE;
		image_will_need(image, at + n, size - at - n < AHEAD ? size - at - n : AHEAD);
		r = image_pread(image, piece, n, at, e);
		if (r == 0 && !all_zero(piece, n)) {
			r = pwrite_full(fd, piece, n, at);
			if (r < 0)
				(void)err_errno(e, r, "cannot write");
		}
		progress_update(progress, at + n, size);
	}
	explicit_bzero(piece, PIECE);
	if (r == 0 && (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0))
		r = err_errno(e, -errno, "cannot write");
	return r;
}

/* An unnamed file beside `path`, which gets its name at the end; a file of that name is replaced. */
static int export_to(struct image *image, const char *path, struct progress *progress, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX], self[64], temp[PATH_MAX];
	cleanup_close int fd = -1;
	int r;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	if (snprintf(temp, sizeof(temp), "%s.tmp-%ld", path, (long)getpid()) >= (int)sizeof(temp))
		return err_set(e, -ENAMETOOLONG, "%s", path);
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "cannot make an unnamed file in %s", dir);
	r = copy_image(image, fd, progress, e);
	if (r < 0)
		return r;
	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, temp, AT_SYMLINK_FOLLOW) < 0)
		return err_errno(e, -errno, "%s", temp);
	if (rename(temp, path) < 0) {
		r = -errno;
		(void)unlink(temp);
		return err_errno(e, r, "%s", path);
	}
	return 0;
}

int command_export(int argc, char **argv)
{
	struct sealed_command c = {.name = "export", .help = help, .takes_policy = true, .n_arguments = 2};
	struct progress progress;
	struct image *image;
	struct err e = {{0}};
	int code, r;

	if (!sealed_command_parse(&c, argc, argv, &code))
		return code;
	if (c.keys.n == 0)
		return command_usage("export", "with which key? Give --key SPEC");
	r = sealed_command_open(&c, &image, &e);
	if (r < 0)
		return command_failed("export", r, &e);
	progress_start(&progress, "exporting", c.quiet);
	r = export_to(image, c.argument, &progress, &e);
	progress_end(&progress);
	image_close(image);
	return r < 0 ? command_failed("export", r, &e) : EXIT_DONE;
}
