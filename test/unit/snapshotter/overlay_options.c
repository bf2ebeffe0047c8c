/* SPDX-License-Identifier: Apache-2.0
 * What the helper makes of the options that reach it through containerd and mount.fuse. */
#include "snapshotter/overlay_options.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void expect(const char *const *lists, unsigned long flags, const char *data)
{
	cleanup_overlay_options struct overlay_options o;
	struct err e = {""};

	overlay_options_init(&o);
	for (; *lists; lists++)
		cr_assert_eq(overlay_options_add(&o, *lists, &e), 0, "%s: %s", *lists, e.text);
	cr_assert_eq(overlay_options_end(&o, &e), 0, "%s", e.text);
	cr_assert_str_eq((const char *)o.data.data, data);
	cr_assert_eq(o.flags, flags, "%s: %lx", data, o.flags);
}

Test(overlay_options, what_is_for_kata_is_dropped)
{
	expect(
		(const char *const[]){
			"io.katacontainers.volume=eyJ2b2x1bWUifQ==,index=off,workdir=/w,upperdir=/u,"
			"lowerdir=/a:/b,extraoption=e30=,dev,suid",
			NULL},
		0, "index=off,workdir=/w,upperdir=/u,lowerdir=/a:/b");
	expect((const char *const[]){"lowerdir=/a:/b", "io.katacontainers.volume=", "extraoption=", NULL}, 0,
	       "lowerdir=/a:/b");
}

Test(overlay_options, the_last_flag_counts)
{
	expect((const char *const[]){"rw,lowerdir=/a", "ro", NULL}, MS_RDONLY, "lowerdir=/a");
	expect((const char *const[]){"ro,nodev,nosuid,noexec,lowerdir=/a", NULL},
	       MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, "lowerdir=/a");
	expect((const char *const[]){"ro,nodev,nosuid,noexec,lowerdir=/a,rw,dev,suid,exec", NULL}, 0,
	       "lowerdir=/a");
}

Test(overlay_options, others_are_refused)
{
	static const char *const bad[] = {
		"",	   "lowerdir=/a,", ",lowerdir=/a", "loop",
		"remount", "bind",	   "LOWERDIR=/a",  "lowerdir",
		"r",	   "rox",	   "volatile",	   "io.katacontainers.fs-opt.layer=x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cleanup_overlay_options struct overlay_options o;
		struct err e = {""};

		overlay_options_init(&o);
		cr_assert_eq(overlay_options_add(&o, bad[i], &e), -EINVAL, "\"%s\"", bad[i]);
		cr_assert_not_null(strstr(e.text, "unknown option"), "%s", e.text);
	}
}

Test(overlay_options, there_must_be_something_below)
{
	static const char *const bad[] = {"ro", "upperdir=/u,workdir=/w", "upperdir=/lowerdir=/x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cleanup_overlay_options struct overlay_options o;
		struct err e = {""};

		overlay_options_init(&o);
		cr_assert_eq(overlay_options_add(&o, bad[i], &e), 0);
		cr_assert_eq(overlay_options_end(&o, &e), -EINVAL, "%s", bad[i]);
	}
}

/* The kernel would cut them without a word. */
Test(overlay_options, more_than_a_page_is_refused)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *list = malloc(page + 64);

	for (size_t n = page - 1; n <= page; n++) {
		cleanup_overlay_options struct overlay_options o;

		memset(list, 'x', n);
		memcpy(list, "lowerdir=/", 10);
		list[n] = '\0';
		overlay_options_init(&o);
		cr_assert_eq(overlay_options_add(&o, list, NULL), 0);
		cr_assert_eq(overlay_options_end(&o, NULL), n < page ? 0 : -E2BIG, "%zu", n);
	}
	memset(list, 'x', page); /* what is dropped does not count */
	memcpy(list, "extraoption=", 12);
	(void)strcpy(list + page, ",lowerdir=/a");
	expect((const char *const[]){list, NULL}, 0, "lowerdir=/a");
	free(list);
}
