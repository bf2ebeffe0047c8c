/* SPDX-License-Identifier: Apache-2.0
 * Three tables: what is dropped, what is a flag, what overlayfs itself gets. mount.fuse(8) adds dev and suid,
 * mount(8) rw, containerd ro. */
#include "snapshotter/overlay_options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static const char *const dropped[] = {"io.katacontainers.volume=", "extraoption="};

static const char *const passed[] = {"lowerdir=", "upperdir=", "workdir=", "index="};

static const struct {
	const char *name;
	unsigned long set, clear;
} flags[] = {
	{"ro", MS_RDONLY, 0},	  {"rw", 0, MS_RDONLY},	  {"nodev", MS_NODEV, 0},   {"dev", 0, MS_NODEV},
	{"nosuid", MS_NOSUID, 0}, {"suid", 0, MS_NOSUID}, {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC},
};

#define LENGTH(table) (sizeof(table) / sizeof((table)[0]))

void overlay_options_init(struct overlay_options *o)
{
	o->flags = 0;
	buf_init(&o->data, (size_t)sysconf(_SC_PAGESIZE));
}

void overlay_options_deinit(struct overlay_options *o)
{
	buf_deinit(&o->data);
}

static bool has_prefix(const char *option, size_t n, const char *const *prefixes, size_t n_prefixes)
{
	for (size_t i = 0; i < n_prefixes; i++)
		if (n >= strlen(prefixes[i]) && memcmp(option, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

static bool take_flag(struct overlay_options *o, const char *option, size_t n)
{
	for (size_t i = 0; i < LENGTH(flags); i++)
		if (strlen(flags[i].name) == n && memcmp(option, flags[i].name, n) == 0) {
			o->flags = (o->flags | flags[i].set) & ~flags[i].clear;
			return true;
		}
	return false;
}

int overlay_options_add(struct overlay_options *o, const char *list, struct err *e)
{
	for (const char *at = list;; at++) {
		size_t n = strcspn(at, ",");

		if (has_prefix(at, n, passed, LENGTH(passed))) {
			if (o->data.size > 0)
				buf_u8(&o->data, ',');
			buf_put(&o->data, at, n);
		} else if (!has_prefix(at, n, dropped, LENGTH(dropped)) && !take_flag(o, at, n)) {
			return err_set(e, -EINVAL, "unknown option \"%.*s\"", (int)n, at);
		}
		at += n;
		if (*at == '\0')
			return 0;
	}
}

int overlay_options_end(struct overlay_options *o, struct err *e)
{
	buf_u8(&o->data, 0);
	if (buf_failed(&o->data))
		return err_set(e, -E2BIG, "the options of overlayfs are longer than a page");
	if (strncmp((const char *)o->data.data, "lowerdir=", 9) != 0 &&
	    !strstr((const char *)o->data.data, ",lowerdir="))
		return err_set(e, -EINVAL, "no lowerdir=");
	return 0;
}
