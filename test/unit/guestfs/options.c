/* SPDX-License-Identifier: Apache-2.0
 * The command line, as cocoon-guestfs and as mount.cocoon. */
#include "guestfs/options.h"
#include "proto/base/io.h"
#include "test/unit/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DIGEST "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static struct options o;
static struct err e;

/* Words separated by spaces. */
static int parse(const char *line)
{
	static char words[1000];
	char *argv[40], *state = NULL;
	int argc = 0;

	(void)snprintf(words, sizeof(words), "%s", line);
	for (char *w = strtok_r(words, " ", &state); w; w = strtok_r(NULL, " ", &state))
		argv[argc++] = w;
	argv[argc] = NULL;
	optind = 0;
	return options_parse(&o, argc, argv, &e);
}

TestSuite(options, .init = scratch_open, .fini = scratch_close, .timeout = 60);

Test(options, reads_the_command)
{
	cr_assert_eq(
		parse("cocoon-guestfs --key file:/k --key recipient:/r --host vsock:2:7681 --front tree "
		      "--cache-size 64M --timeout 5 --wait 60 --foreground --nodev localhost:5000/a:b@" DIGEST
		      " /tmp"),
		0, "%s", e.text);
	cr_assert_eq(o.keys.n, 2);
	cr_assert_str_eq(o.keys.spec[1].path, "/r");
	cr_assert_str_eq(o.host, "vsock:2:7681");
	cr_assert_eq(o.front.kind, FRONT_TREE);
	cr_assert_eq(o.cache_bytes, 64u << 20);
	cr_assert_eq(o.timeout_ms, 5000);
	cr_assert_eq(o.wait_ms, 60000);
	cr_assert(o.foreground && o.front.nodev && !o.front.nosuid);
	cr_assert_str_eq(o.image.repository, "a");
	cr_assert_str_eq(o.target, "/tmp");
	options_deinit(&o);
}

Test(options, reads_a_host_behind_a_network)
{
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --host tls:[::1]:7681:" DIGEST
			   " --tls-identity /id.pem a.b/c:1 /tmp"),
		     0, "%s", e.text);
	cr_assert_str_eq(o.host, "tls:[::1]:7681:" DIGEST);
	cr_assert_str_eq(o.tls_identity, "/id.pem");
	options_deinit(&o);
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --host tls:[::1]:7681 a.b/c:1 /tmp"), -EINVAL);
	cr_assert_not_null(strstr(e.text, "PIN"), "%s", e.text);
	options_deinit(&o);
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --tls-identity /id.pem a.b/c:1 /tmp"), -EINVAL);
	cr_assert_not_null(strstr(e.text, "--tls-identity"), "%s", e.text);
	options_deinit(&o);
}

Test(options, has_defaults)
{
	cr_assert_eq(parse("/usr/bin/cocoon-guestfs --key file:/k localhost:5000/a /tmp"), 0, "%s", e.text);
	cr_assert_str_eq(o.host, "unix:/run/cocoon/chunks.sock");
	cr_assert_eq(o.front.kind, FRONT_AUTO);
	cr_assert_eq(o.timeout_ms, 30000);
	cr_assert_eq(o.wait_ms, 0);
	cr_assert(!o.foreground && !o.has_digest);
	options_deinit(&o);
}

Test(options, finds_a_host_also_when_the_directory_has_changed)
{
	char want[200];

	cr_assert_eq(chdir(scratch), 0);
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --host unix:run/s localhost:5000/a /tmp"), 0, "%s",
		     e.text);
	(void)snprintf(want, sizeof(want), "unix:%s/run/s", scratch);
	cr_assert_str_eq(o.host, want);
	options_deinit(&o);
}

Test(options, reads_what_mount_gives)
{
	cr_assert_eq(parse("/sbin/mount.cocoon localhost:5000/a /tmp -o "
			   "rw,nosuid,key=file:/k,host=unix:/"
			   "s,front=loop,cache_size=1G,x-systemd.automount,_netdev"),
		     0, "%s", e.text);
	cr_assert_eq(o.keys.n, 1);
	cr_assert_str_eq(o.host, "unix:/s");
	cr_assert_eq(o.front.kind, FRONT_LOOP);
	cr_assert(o.front.nosuid && !o.front.nodev);
	cr_assert_eq(o.cache_bytes, 1u << 30);
	options_deinit(&o);
	cr_assert_eq(parse("mount.cocoon -f a /tmp"), OPTIONS_DONE);
}

/* A line with %s for the path of a policy that lists DIGEST. */
static int parse_with_policy(const char *format)
{
	static const char json[] = "{\"version\":1,\"images\":[{\"digest\":\"" DIGEST "\"}]}";
	const char *at = strstr(format, "%s"), *path = scratch_path("policy");
	char line[1000];

	cr_assert_eq(file_write(AT_FDCWD, path, json, sizeof(json) - 1, 0600, &e), 0, "%s", e.text);
	cr_assert_not_null(at);
	(void)snprintf(line, sizeof(line), "%.*s%s%s", (int)(at - format), format, path, at + 2);
	return parse(line);
}

Test(options, reads_the_policy)
{
	cr_assert_eq(parse_with_policy("cocoon-guestfs --key file:/k --policy %s localhost:5000/a /tmp"), 0,
		     "%s", e.text);
	cr_assert(o.has_policy);
	cr_assert_eq(o.policy.n_images, 1);
	options_deinit(&o);
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --policy /dev/null localhost:5000/a /tmp"),
		     -EUCLEAN);
	cr_assert_eq(parse("cocoon-guestfs --key file:/k --policy /none localhost:5000/a /tmp"), -ENOENT);
	cr_assert(!o.has_policy);
	cr_assert_eq(parse_with_policy("mount.cocoon localhost:5000/a /tmp -o key=file:/k,policy=%s"), 0,
		     "%s", e.text);
	cr_assert(o.has_policy);
	options_deinit(&o);
	cr_assert_eq(
		parse_with_policy("mount.cocoon localhost:5000/a /tmp -o key=file:/k,policy=%s,policy=x"),
		-EINVAL);
	options_deinit(&o);
}

Test(options, takes_no_tag_with_a_recipients_key)
{
	static const char *const bad[] = {
		"cocoon-guestfs --key recipient:/r localhost:5000/a:b /tmp",
		"cocoon-guestfs --key file:/k --key recipient:/r localhost:5000/a:b /tmp",
		"mount.cocoon localhost:5000/a /tmp -o key=recipient:/r",
	};
	static const char *const good[] = {
		"cocoon-guestfs --key recipient:/r localhost:5000/a@" DIGEST " /tmp",
		"cocoon-guestfs --key recipient:/r --digest " DIGEST " localhost:5000/a:b /tmp",
		"cocoon-guestfs --key file:/k localhost:5000/a:b /tmp",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.text[0] = '\0';
		cr_assert_eq(parse(bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(e.text, "--digest") && strstr(e.text, "--policy"), "%s", e.text);
		options_deinit(&o);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(parse(good[i]), 0, "%s: %s", good[i], e.text);
		options_deinit(&o);
	}
	cr_assert_eq(
		parse_with_policy("cocoon-guestfs --key recipient:/r --policy %s localhost:5000/a:b /tmp"), 0,
		"%s", e.text);
	options_deinit(&o);
}

Test(options, refuses_the_rest)
{
	static const char *const bad[] = {
		"cocoon-guestfs",
		"cocoon-guestfs --key file:/k localhost:5000/a",
		"cocoon-guestfs --key file:/k localhost:5000/a /tmp /tmp",
		"cocoon-guestfs localhost:5000/a /tmp",
		"cocoon-guestfs --key 0123456789 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k localhost:5000/a /does/not/exist",
		"cocoon-guestfs --key file:/k --front fuse localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --host tcp:1 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --digest 12 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --cache-size 0 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --cache-size -1 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --cache-size 1T localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --cache-size 99999999999G localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --timeout 0 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --timeout 5s localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --wait -1 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --wait 86401 localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k --unknown localhost:5000/a /tmp",
		"cocoon-guestfs --key file:/k UPPER:5000/a..b /tmp",
		"mount.cocoon localhost:5000/a /tmp -o key=file:/k,unknown",
		"mount.cocoon localhost:5000/a /tmp -o key=file:/k,key",
		"mount.cocoon localhost:5000/a -o key=file:/k",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e.text[0] = '\0';
		cr_assert_eq(parse(bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert_neq(e.text[0], '\0', "%s", bad[i]);
		options_deinit(&o);
	}
}
