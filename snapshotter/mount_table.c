/* SPDX-License-Identifier: Apache-2.0
 * /proc/self/mountinfo, as proc(5) describes it: the fifth field is the mount point, with space, tab, newline
 * and backslash in octal. */
#include "snapshotter/mount_table.h"

#include "proto/base/cleanup.h"

#include <limits.h>
#include <string.h>
#include <sys/mount.h>

/* The path as the table writes it. */
static int escape(const char *path, char *to, size_t room)
{
	size_t n = 0;

	for (; *path; path++) {
		if (n + 5 > room)
			return -ENAMETOOLONG;
		if (strchr(" \t\n\\", *path))
			n += (size_t)snprintf(to + n, room - n, "\\%03o", (unsigned)(unsigned char)*path);
		else
			to[n++] = *path;
	}
	to[n] = '\0';
	return 0;
}

/* The fifth field, cut out of its line. */
static const char *mount_point(char *line)
{
	char *rest = line, *field = NULL;

	for (int i = 0; i < 5; i++)
		field = strsep(&rest, " ");
	return field;
}

int mount_table_has(const char *path, struct err *e)
{
	cleanup_fclose FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	char escaped[PATH_MAX * 2];
	size_t room = 0;
	int r = escape(path, escaped, sizeof(escaped));

	if (r < 0)
		return err_errno(e, r, "%s", path);
	if (!f)
		return err_errno(e, -errno, "/proc/self/mountinfo");
	while (getline(&line, &room, f) > 0) {
		const char *at = mount_point(line);

		if (at && strcmp(at, escaped) == 0)
			return 1;
	}
	return ferror(f) ? err_set(e, -EIO, "reading /proc/self/mountinfo") : 0;
}

int mount_table_unmount(const char *path, struct err *e)
{
	for (;;) {
		if (umount2(path, UMOUNT_NOFOLLOW) == 0)
			continue;
		if (errno == EINVAL || errno == ENOENT)
			return 0; /* nothing is mounted there (any more) */
		if (umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
			return err_errno(e, -errno, "unmounting %s", path);
	}
}
