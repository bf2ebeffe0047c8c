/* SPDX-License-Identifier: Apache-2.0
 * A cocoon-guestfs for tests: a shell script that mounts a tmpfs and stays until it is unmounted. It fails,
 * or hangs, when a file beside it says so. Mounting needs root: without it the tests that use it are skipped.
 */
#ifndef COCOON_TEST_FAKE_GUESTFS_H
#define COCOON_TEST_FAKE_GUESTFS_H

#include "snapshotter/local_road.h"
#include "test/unit/scratch.h"

#include <sys/stat.h>

#define FAKE_GUESTFS                                                                                         \
	"#!/bin/sh\n"                                                                                        \
	"for dir; do ref=$before; before=$dir; done\n"                                                       \
	"here=${0%/*}\n"                                                                                     \
	"echo \"$@\" >>$here/calls\n"                                                                        \
	"if [ -e $here/fail ]; then echo 'no key fits' >&2; exit 1; fi\n"                                    \
	"if [ -e $here/nothing ]; then exit 0; fi\n"                                                         \
	"if [ -e $here/hang ]; then sleep 1000; fi\n"                                                        \
	"mount -t tmpfs fake \"$dir\" || exit 1\n"                                                           \
	"chmod 1775 \"$dir\"\n"                                                                              \
	"echo $ref >\"$dir/ref\"\n"                                                                          \
	"(while mountpoint -q \"$dir\" && ! [ -e $here/die ]; do sleep 0.02; done) &\n"

static inline bool fake_guestfs_make(void)
{
	FILE *f;

	scratch_open();
	if (geteuid() != 0)
		return false;
	f = fopen(scratch_path("guestfs"), "w");
	cr_assert_not_null(f);
	(void)fputs(FAKE_GUESTFS, f);
	cr_assert_eq(fchmod(fileno(f), 0700), 0);
	(void)fclose(f);
	return true;
}

static inline void fake_guestfs_set(const char *what, bool on)
{
	if (on)
		(void)fclose(fopen(scratch_path(what), "w"));
	else
		(void)unlink(scratch_path(what));
}

static inline struct local_road *fake_guestfs_road(void)
{
	static const char *const keys[] = {"file:/a key", "recipient:/b"};
	struct local_road_config config = {.root = scratch,
					   .guestfs = scratch_path("guestfs"),
					   .host = "unix:/chunks",
					   .keys = keys,
					   .n_keys = 2,
					   .front = "auto",
					   .cache_bytes = 1000,
					   .timeout_ms = 2000};
	struct local_road *road;
	struct err e = {""};

	cr_assert_eq(local_road_open(&road, &config, &e), 0, "%s", e.text);
	return road;
}

#endif
